/*
 * Records a practice session, shows the progress whenever it changes, and syncs. The whole life of a client, with every error
 * looked at.
 *
 *   MAREA_DIR=/tmp/ada MAREA_URL=... MAREA_KEY=... MAREA_TOKEN=... ./practice 12
 *
 * Without MAREA_URL it records and shows; what it records is sent by a later run, or by `marea sync`.
 */
#include <marea.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The callback comes on a thread of the library: what it shares with main is behind a lock. */
struct shown {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int times;
};

static void show_progress(void *context, const char *progress)
{
    struct shown *shown = context;
    if (progress == NULL) {
        return; /* The client was closed; nothing more comes. */
    }
    printf("progress: %s\n", progress);
    pthread_mutex_lock(&shown->lock);
    shown->times += 1;
    pthread_cond_signal(&shown->changed);
    pthread_mutex_unlock(&shown->lock);
}

static void wait_until_shown(struct shown *shown, int times)
{
    pthread_mutex_lock(&shown->lock);
    while (shown->times < times) {
        pthread_cond_wait(&shown->changed, &shown->lock);
    }
    pthread_mutex_unlock(&shown->lock);
}

/* Says what went wrong, and frees what it was told. */
static int failed(const char *what, MareaCode code, char *error)
{
    if (code == MAREA_CODE_OK) {
        return 0;
    }
    fprintf(stderr, "%s: %s: %s\n", what, marea_code_name(code), error != NULL ? error : "");
    marea_string_free(error);
    return 1;
}

/* Appends `"name": "value", ` to a JSON object; a missing value is left out. An app would use its JSON library. */
static char *append(char *at, const char *name, const char *value)
{
    if (value == NULL) {
        return at;
    }
    at += sprintf(at, "\"%s\": \"", name);
    for (; *value != '\0'; value++) {
        at += sprintf(at, (unsigned char)*value < 0x20 || *value == '"' || *value == '\\' ? "\\u%04x" : "%c", *value);
    }
    return at + sprintf(at, "\", ");
}

static char *configuration(void)
{
    const char *names[] = {"dir", "url", "publishable_key", "access_token", "user_id"};
    const char *variables[] = {"MAREA_DIR", "MAREA_URL", "MAREA_KEY", "MAREA_TOKEN", "MAREA_USER"};
    size_t room = 256;
    for (size_t i = 0; i < 5; i++) {
        const char *value = getenv(variables[i]);
        room += value == NULL ? 0 : 6 * strlen(value);
    }
    char *text = malloc(room);
    if (text == NULL) {
        return NULL;
    }
    char *at = text + sprintf(text, "{");
    for (size_t i = 0; i < 5; i++) {
        at = append(at, names[i], getenv(variables[i]));
    }
    sprintf(at, "\"background_sync\": false}");
    return text;
}

int main(int arguments, char **argument)
{
    struct shown shown = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    MareaClient *client = NULL;
    MareaWatch *watch = NULL;
    char *error = NULL, *text = NULL;
    uint32_t pending = 0;
    int result = EXIT_FAILURE;

    char *config = configuration();
    if (config == NULL || failed("open", marea_open(config, &client, &error), error)) {
        free(config);
        return result;
    }
    free(config);

    if (failed("watch", marea_watch_progress(client, show_progress, &shown, &watch, &error), error)) {
        goto close;
    }
    wait_until_shown(&shown, 1); /* What it is now. */

    char session[128];
    snprintf(session, sizeof session, "{\"session_type\": \"qa\", \"duration_minutes\": %d}",
             arguments > 1 ? atoi(argument[1]) : 10);
    if (failed("record", marea_record_session(client, session, &text, &error), error)) {
        goto stop;
    }
    printf("recorded: %s\n", text); /* On the disk, whatever happens next. */
    marea_string_free(text);
    wait_until_shown(&shown, 2);

    if (getenv("MAREA_URL") != NULL) {
        if (failed("sync", marea_sync(client, &text, &error), error)) {
            goto stop;
        }
        printf("synced: %s\n", text);
        marea_string_free(text);
    }
    result = EXIT_SUCCESS;

stop:
    marea_watch_stop(watch);
close:
    if (failed("close", marea_close(client, 2000, &pending, &error), error)) {
        result = EXIT_FAILURE;
    }
    printf("waiting: %u\n", pending);
    marea_free(client);
    return result;
}
