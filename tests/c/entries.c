/*
 * Every entry of libmarea, used well and used badly, as C would. Runs under AddressSanitizer with LeakSanitizer.
 *
 *   entries DIR URL ANON_KEY TOKEN EMAIL PASSWORD
 *
 * Each check that fails says its line and ends the program.
 */
#include <marea.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *error = NULL, *out = NULL;

static void check(int line, int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "line %d: not so: %s (error: %s, out: %s)\n", line, what, error ? error : "-", out ? out : "-");
        exit(1);
    }
}
#define CHECK(condition) check(__LINE__, (condition), #condition)

/* A call that must succeed; what it gives is in `out`. */
#define DONE(call) (marea_string_free(out), out = NULL, CHECK((call) == MAREA_CODE_OK), CHECK(error == NULL))
/* A call that must fail so, with a message that has this in it, and give nothing. */
#define REFUSED(number, part, call)                                                                                       \
    (marea_string_free(out), out = NULL, CHECK((call) == (number)), CHECK(out == NULL),                                   \
     CHECK(error != NULL && strstr(error, (part)) != NULL && strstr(error, marea_code_name(number)) != NULL),             \
     marea_string_free(error), error = NULL)
#define SAYS(part) CHECK(out != NULL && strstr(out, (part)) != NULL)

/* What a watch has told, behind a lock. */
struct heard {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char last[4096];
    int ended;
    MareaWatch *to_stop;
};

static void hear(void *context, const char *value)
{
    struct heard *heard = context;
    pthread_mutex_lock(&heard->lock);
    if (value == NULL) {
        heard->ended = 1;
    } else {
        snprintf(heard->last, sizeof heard->last, "%s", value);
    }
    MareaWatch *to_stop = heard->to_stop;
    heard->to_stop = NULL;
    pthread_cond_signal(&heard->changed);
    pthread_mutex_unlock(&heard->lock);
    marea_watch_stop(to_stop); /* Its own watch, from inside. */
}

static void wait_for(struct heard *heard, const char *part)
{
    pthread_mutex_lock(&heard->lock);
    while (part != NULL ? strstr(heard->last, part) == NULL : !heard->ended) {
        pthread_cond_wait(&heard->changed, &heard->lock);
    }
    pthread_mutex_unlock(&heard->lock);
}
#define HEARD {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, "", 0, NULL}

/* The text that follows `"name":"`, without its end. Good for ids. */
static char *member(const char *name)
{
    char pattern[64];
    static char value[64];
    snprintf(pattern, sizeof pattern, "\"%s\":\"", name);
    const char *start = strstr(out, pattern);
    CHECK(start != NULL);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(start + strlen(pattern), "\""), start + strlen(pattern));
    return value;
}

static MareaClient *open_client(const char *format, const char *dir, const char *a, const char *b, const char *c)
{
    char config[8192];
    MareaClient *client = NULL;
    snprintf(config, sizeof config, format, dir, a, b, c);
    DONE(marea_open(config, &client, &error));
    CHECK(client != NULL);
    return client;
}

static void misuse(MareaClient *client)
{
    MareaClient *none = (MareaClient *)&none;
    MareaWatch *watch = NULL;
    REFUSED(MAREA_CODE_NULL_ARGUMENT, "config is NULL", marea_open(NULL, &none, &error));
    CHECK(none == NULL);
    REFUSED(MAREA_CODE_NULL_ARGUMENT, "client is NULL", marea_open("{}", NULL, &error));
    REFUSED(MAREA_CODE_INVALID_UTF8, "config", marea_open("{\"dir\":\"\xff\"}", &none, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "dir", marea_open("{}", &none, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "not JSON", marea_open("dir=/tmp", &none, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "names nobody", marea_open("{\"dir\":\"/nowhere\"}", &none, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "url: expected the address before /rest/v1",
            marea_open("{\"dir\":\"/nowhere\",\"user_id\":\"7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d\","
                       "\"url\":\"https://x.supabase.co/rest/v1\",\"anon_key\":\"k\"}", &none, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "publishable_key: is empty",
            marea_sign_in("/nowhere", "https://x.supabase.co", "", "ada@example.com", "p", &out, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "allow_http",
            marea_sign_in("/nowhere", "http://10.0.0.1", "k", "ada@example.com", "p", &out, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "url: expected",
            marea_sign_in_allowing_http("/nowhere", "ftp://10.0.0.1", "k", "ada@example.com", "p", &out, &error));
    REFUSED(MAREA_CODE_NULL_ARGUMENT, "client is NULL", marea_set_online(NULL, true, &error));
    REFUSED(MAREA_CODE_STORAGE_FAILED, "cannot read /dev/null/x",
            marea_open("{\"dir\":\"/dev/null/x\",\"user_id\":\"7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d\"}", &none, &error));
    REFUSED(MAREA_CODE_NULL_ARGUMENT, "client is NULL", marea_progress(NULL, &out, &error));
    REFUSED(MAREA_CODE_NULL_ARGUMENT, "session is NULL", marea_record_session(client, NULL, &out, &error));
    REFUSED(MAREA_CODE_INVALID_UTF8, "session", marea_record_session(client, "\"\x80\"", &out, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "session_type", marea_record_session(client, "{}", &out, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "minuts", marea_record_session(client, "{\"minuts\":1}", &out, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "day", marea_activity(client, "yesterday", "2026-11-23", &out, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "UUID", marea_export(client, "no id", &out, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "limit", marea_exports(client, "{\"limit\":0}", &out, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "MareaSignal", marea_signal(client, 77, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "openai", marea_vault_put(client, "nobody", "key", &out, &error));
    REFUSED(MAREA_CODE_NULL_ARGUMENT, "callback", marea_watch_progress(client, NULL, NULL, &watch, &error));
    REFUSED(MAREA_CODE_NULL_ARGUMENT, "watch", marea_watch_progress(client, hear, NULL, NULL, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "from", marea_watch_activity(client, "2026-11-23", "2026-11-01", hear, NULL, &watch, &error));
    CHECK(watch == NULL);
    /* Nobody has to want the error, nor the outputs. */
    CHECK(marea_progress(NULL, NULL, NULL) == MAREA_CODE_NULL_ARGUMENT);
    CHECK(marea_progress(client, NULL, NULL) == MAREA_CODE_OK);
    marea_string_free(NULL);
    marea_watch_stop(NULL);
    marea_free(NULL);
    CHECK(strcmp(marea_code_name(13), "storage_full") == 0 && strcmp(marea_code_name(-5), "unknown") == 0);
    CHECK(strlen(marea_version()) >= 5);
}

static void record_and_read(MareaClient *client)
{
    char id[64];
    struct heard progress = HEARD, activity = HEARD, exports = HEARD, status = HEARD;
    MareaWatch *of_progress, *of_activity, *of_exports, *of_status;
    DONE(marea_today(client, &out, &error));
    char today[16];
    snprintf(today, sizeof today, "%s", out);
    DONE(marea_watch_progress(client, hear, &progress, &of_progress, &error));
    DONE(marea_watch_activity(client, "2020-01-01", today, hear, &activity, &of_activity, &error));
    DONE(marea_watch_exports(client, NULL, hear, &exports, &of_exports, &error));
    DONE(marea_watch_status(client, hear, &status, &of_status, &error));
    wait_for(&progress, "\"total_sessions\":0");

    DONE(marea_record_session(client, "{\"session_type\":\"caf\xc3\xa9\",\"qa_attempts\":10,\"qa_correct\":8}", &out, &error));
    SAYS("\"pending\":1");
    DONE(marea_record_event(client, "{\"points\":50}", &out, &error));
    SAYS("\"pending\":2");
    wait_for(&progress, "\"total_points\":50");
    wait_for(&activity, today);
    wait_for(&status, "\"pending\":2");
    DONE(marea_progress(client, &out, &error));
    SAYS("\"total_sessions\":1");
    SAYS("\"average_accuracy\":80");
    DONE(marea_activity(client, "2020-01-01", today, &out, &error));
    SAYS("\"questions\":10");

    DONE(marea_create_export(client, "{\"export_type\":\"progress\",\"export_format\":\"csv\"}", &out, &error));
    snprintf(id, sizeof id, "%s", member("id"));
    wait_for(&exports, id);
    DONE(marea_update_export(client, id, "{\"status\":\"completed\",\"records_count\":3}", &out, &error));
    DONE(marea_export(client, id, &out, &error));
    SAYS("\"records_count\":3");
    DONE(marea_export(client, "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d", &out, &error));
    CHECK(strcmp(out, "null") == 0);
    DONE(marea_exports(client, "{\"limit\":10}", &out, &error));
    SAYS(id);
    DONE(marea_import_once(client, "history", "[{\"session\":{\"session_type\":\"qa\",\"local_date\":\"2025-01-02\"}},{}]", &out, &error));
    SAYS("\"imported\":1");
    SAYS("\"index\":1");
    REFUSED(MAREA_CODE_INVALID_INPUT, "items", marea_import_once(client, "history", "{}", &out, &error));
    DONE(marea_claim(client, &out, &error));
    SAYS("\"claimed\":0");
    DONE(marea_pending(client, &out, &error));
    SAYS("caf\xc3\xa9");
    DONE(marea_export_queue(client, &out, &error));
    SAYS("\"rejected\":[]");
    DONE(marea_diagnostics(client, &out, &error));
    CHECK(strstr(out, "caf\xc3\xa9") == NULL);
    DONE(marea_mirror_path(client, &out, &error));
    SAYS(".sqlite3");
    DONE(marea_check(client, &error));
    marea_watch_stop(of_progress);
    marea_watch_stop(of_activity);
    marea_watch_stop(of_exports);
    marea_watch_stop(of_status);

    /* One that stops itself from inside. */
    struct heard once = HEARD;
    MareaWatch *of_once;
    pthread_mutex_lock(&once.lock);
    DONE(marea_watch_progress(client, hear, &once, &of_once, &error));
    once.to_stop = of_once;
    pthread_mutex_unlock(&once.lock);
    wait_for(&once, "total_sessions");
}

static void vault(MareaClient *client)
{
    char code[64];
    REFUSED(MAREA_CODE_VAULT_NOT_SET_UP, "passphrase", marea_vault_unlock(client, "orbit velvet canoe", &out, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "15 characters", marea_vault_set_up(client, "short", &error));
    DONE(marea_vault_set_up(client, "orbit velvet canoe", &error));
    REFUSED(MAREA_CODE_VAULT_SET_UP, "", marea_vault_set_up(client, "orbit velvet canoe", &error));
    DONE(marea_vault_put(client, "openai", "sk-proj-0123456789abca1B2", &out, &error));
    DONE(marea_vault_status(client, &out, &error));
    SAYS("sk-...a1B2");
    DONE(marea_vault_get(client, "openai", &out, &error));
    CHECK(strcmp(out, "sk-proj-0123456789abca1B2") == 0);
    REFUSED(MAREA_CODE_NO_KEY, "", marea_vault_get(client, "anthropic", &out, &error));
    DONE(marea_vault_validated(client, "openai", &error));
    DONE(marea_vault_make_recovery_code(client, &out, &error));
    snprintf(code, sizeof code, "%s", out);
    DONE(marea_vault_generate_passphrase(&out, &error));
    CHECK(strlen(out) == 29);
    DONE(marea_vault_rewrap_passphrase(client, "orbit velvet canoe", "words of another day", &out, &error));
    SAYS("\"recovery_code\":null");
    DONE(marea_vault_recover_rewrap(client, code, "orbit velvet canoe", &out, &error));
    DONE(marea_vault_change_passphrase(client, "orbit velvet canoe", "lantern pebble fjord", &out, &error));
    SAYS("\"recovery_code\":\"");
    REFUSED(MAREA_CODE_WRONG_PASSPHRASE, "", marea_vault_recover(client, code, "found again in a drawer", &out, &error));
    DONE(marea_vault_make_recovery_code(client, &out, &error));
    snprintf(code, sizeof code, "%s", out);
    /* A code that nobody is given would take the place of this one, which opens the vault below. */
    REFUSED(MAREA_CODE_NULL_ARGUMENT, "recovery_code", marea_vault_make_recovery_code(client, NULL, &error));
    REFUSED(MAREA_CODE_NULL_ARGUMENT, "outcome", marea_vault_rotate(client, "lantern pebble fjord", NULL, &error));
    REFUSED(MAREA_CODE_NULL_ARGUMENT, "outcome", marea_vault_recover(client, code, "lantern pebble fjord", NULL, &error));
    REFUSED(MAREA_CODE_NULL_ARGUMENT, "outcome", marea_vault_change_passphrase(client, "lantern pebble fjord", "words of another day", NULL, &error));
    DONE(marea_vault_lock(client, &error));
    REFUSED(MAREA_CODE_VAULT_LOCKED, "", marea_vault_get(client, "openai", &out, &error));
    REFUSED(MAREA_CODE_WRONG_PASSPHRASE, "", marea_vault_unlock(client, "orbit velvet canoe", &out, &error));
    DONE(marea_vault_unlock(client, "lantern pebble fjord", &out, &error));
    SAYS("\"other_passphrase\":[]");
    DONE(marea_vault_recover(client, code, "found again in a drawer", &out, &error));
    DONE(marea_vault_rotate(client, "found again in a drawer", &out, &error));
    SAYS("\"recovery_code\":\"");
    DONE(marea_vault_lock_after(client, 60000, &error));
    DONE(marea_vault_lock_after(client, 0, &error));
    /* The test gives it no keychain. */
    bool flag = true;
    REFUSED(MAREA_CODE_KEYCHAIN_UNAVAILABLE, "session", marea_vault_remember_device(client, &error));
    REFUSED(MAREA_CODE_KEYCHAIN_UNAVAILABLE, "session", marea_vault_unlock_remembered(client, &flag, &error));
    CHECK(!flag);
    REFUSED(MAREA_CODE_KEYCHAIN_UNAVAILABLE, "session", marea_vault_forget_device(client, &flag, &error));
    DONE(marea_vault_remove(client, "openai", &out, &error));
    DONE(marea_vault_reset(client, &error));
}

static void sync_and_queue(MareaClient *client)
{
    struct heard rejected = HEARD;
    MareaWatch *of_rejected;
    bool found = true;
    DONE(marea_watch_rejected(client, hear, &rejected, &of_rejected, &error));
    DONE(marea_signal(client, MAREA_SIGNAL_VISIBLE, &error));
    DONE(marea_set_online(client, false, &error));
    DONE(marea_sync(client, &out, &error));
    SAYS("\"outcome\":\"offline\"");
    DONE(marea_status(client, &out, &error));
    SAYS("\"online\":false");
    SAYS("\"paused\":true");
    DONE(marea_set_online(client, true, &error));
    DONE(marea_sync(client, &out, &error));
    SAYS("\"outcome\":\"done\"");
    SAYS("\"pending\":0");
    DONE(marea_status(client, &out, &error));
    SAYS("\"connection\":\"online\"");
    DONE(marea_rejected(client, &out, &error));
    CHECK(strcmp(out, "[]") == 0);
    DONE(marea_retry(client, "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d", &found, &error));
    CHECK(!found);
    DONE(marea_discard(client, "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d", &found, &error));
    uint64_t count = 7;
    DONE(marea_retry_all(client, &count, &error));
    CHECK(count == 0);
    DONE(marea_discard_all(client, NULL, &error));
    REFUSED(MAREA_CODE_NULL_ARGUMENT, "client", marea_discard_all(NULL, &count, &error));
    CHECK(!found);

    /* Closing ends the watch, which is still to be stopped; the handle answers until it is freed. */
    uint32_t pending = 77;
    DONE(marea_close(client, 1000, &pending, &error));
    CHECK(pending == 0);
    wait_for(&rejected, NULL);
    marea_watch_stop(of_rejected);
    REFUSED(MAREA_CODE_CLOSED, "closed", marea_progress(client, &out, &error));
    REFUSED(MAREA_CODE_CLOSED, "closed", marea_close(client, 0, NULL, &error));
    marea_free(client);
}

static void sign_in(const char *dir, const char *url, const char *anon_key, const char *email, const char *password)
{
    char user[64];
    bool told = false;
    REFUSED(MAREA_CODE_OFFLINE, "server", marea_sign_in(dir, "http://127.0.0.1:9", anon_key, email, password, &out, &error));
    REFUSED(MAREA_CODE_UNAUTHORIZED, "password", marea_sign_in(dir, url, anon_key, email, "wrong password", &out, &error));
    DONE(marea_sign_in(dir, url, anon_key, email, password, &out, &error));
    SAYS(email);
    CHECK(strstr(out, "token") == NULL);
    snprintf(user, sizeof user, "%s", member("user_id"));
    DONE(marea_accounts(dir, &out, &error));
    SAYS(user);
    REFUSED(MAREA_CODE_KEYCHAIN_UNAVAILABLE, "session", marea_keep_tokens_in_keychain(dir, true, &error));
    DONE(marea_keep_tokens_in_keychain(dir, false, &error));
    /* The folder is enough from now on. */
    MareaClient *client = open_client("{\"dir\":\"%s\"}", dir, "", "", "");
    DONE(marea_sync(client, &out, &error));
    SAYS("\"outcome\":\"done\"");
    REFUSED(MAREA_CODE_INVALID_INPUT, "remembered", marea_set_access_token(client, "x", &error));
    DONE(marea_users(dir, &out, &error));
    SAYS(user);
    DONE(marea_sign_out(dir, url, user, &told, &error));
    CHECK(told);
    REFUSED(MAREA_CODE_UNAUTHORIZED, "sign in", marea_sign_out(dir, url, user, &told, &error));
    DONE(marea_erase(client, &error));
    REFUSED(MAREA_CODE_CLOSED, "closed", marea_status(client, &out, &error));
    marea_free(client);
    DONE(marea_users(dir, &out, &error));
    CHECK(strcmp(out, "[]") == 0);
}

/* A client of its own, which brings its catalogue: no server is asked. */
static void tables(const char *dir)
{
    char key[64];
    uint64_t count = 7;
    struct heard rows = HEARD, result = HEARD;
    MareaWatch *of_rows, *of_result;
    MareaClient *client = open_client(
        "{\"dir\":\"%s/tables\",\"user_id\":\"7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d\",\"schema\":{\"version\":1,"
        "\"hash\":\"00000000000000ab\",\"tables\":[{\"name\":\"words\",\"schema\":\"public\",\"key\":\"id\",\"owner\":\"user_id\","
        "\"write\":true,\"columns\":[{\"name\":\"id\",\"type\":\"uuid\",\"rule\":\"key\"},"
        "{\"name\":\"word\",\"type\":\"text\",\"rule\":\"register\",\"nullable\":false},"
        "{\"name\":\"seen\",\"type\":\"integer\",\"rule\":\"counter\",\"nullable\":false,\"default\":true}]}]}}",
        dir, "", "", "");
    DONE(marea_catalogue(client, &out, &error));
    SAYS("00000000000000ab");
    DONE(marea_watch_table(client, "words", NULL, hear, &rows, &of_rows, &error));
    DONE(marea_watch_query(client, "SELECT count(*) AS n FROM words", NULL, hear, &result, &of_result, &error));
    wait_for(&result, "[[0]]");

    DONE(marea_table_insert(client, "words", "{\"word\":\"caf\xc3\xa9\"}", &out, &error));
    snprintf(key, sizeof key, "%s", member("key"));
    wait_for(&rows, key);
    wait_for(&result, "[[1]]");
    DONE(marea_table_update(client, "words", key, "{\"word\":\"mar\"}", &out, &error));
    DONE(marea_table_add(client, "words", key, "{\"seen\":2}", &out, &error));
    DONE(marea_table_get(client, "words", key, &out, &error));
    SAYS("\"seen\":2");
    SAYS("\"word\":\"mar\"");
    DONE(marea_table_list(client, "words", "{\"where\":{\"seen\":{\"gt\":1}},\"order\":[\"-seen\"]}", &out, &error));
    SAYS(key);
    DONE(marea_table_count(client, "words", "{\"word\":\"mar\"}", &count, &error));
    CHECK(count == 1);
    DONE(marea_query(client, "SELECT word, seen + ? AS more FROM words", "[40]", &out, &error));
    SAYS("[[\"mar\",42]]");
    DONE(marea_batch(client, NULL,
                     "[{\"op\":\"insert\",\"table\":\"words\",\"values\":{\"word\":\"sol\"}},"
                     "{\"op\":\"insert\",\"table\":\"words\",\"values\":{\"word\":\"luz\"}}]",
                     &out, &error));
    wait_for(&result, "[[3]]");
    DONE(marea_table_delete(client, "words", key, &out, &error));
    DONE(marea_table_get(client, "words", key, &out, &error));
    CHECK(strcmp(out, "null") == 0);

    REFUSED(MAREA_CODE_UNKNOWN_TABLE, "nowhere", marea_table_insert(client, "nowhere", "{}", &out, &error));
    REFUSED(MAREA_CODE_NULL_ARGUMENT, "table is NULL", marea_table_get(client, NULL, key, &out, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "words.word", marea_table_insert(client, "words", "{\"word\":1}", &out, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "need a key",
            marea_batch(client, NULL, "[{\"op\":\"delete\",\"table\":\"words\"}]", &out, &error));
    REFUSED(MAREA_CODE_QUERY_REFUSED, "meta", marea_query(client, "SELECT * FROM meta", NULL, &out, &error));
    REFUSED(MAREA_CODE_INVALID_INPUT, "sql: ", marea_query(client, "SELECT", NULL, &out, &error));
    REFUSED(MAREA_CODE_QUERY_LIMIT, "bytes of a value", marea_query(client, "SELECT zeroblob(99999999)", NULL, &out, &error));
    count = 7;
    REFUSED(MAREA_CODE_UNKNOWN_TABLE, "nowhere", marea_table_count(client, "nowhere", NULL, &count, &error));
    CHECK(count == 0);
    marea_watch_stop(of_rows);
    marea_watch_stop(of_result);
    marea_free(client);
}

int main(int arguments, char **argument)
{
    CHECK(arguments == 7);
    char dir[4096];
    const char *url = argument[2], *anon_key = argument[3], *token = argument[4];
    snprintf(dir, sizeof dir, "%s/own", argument[1]);
    MareaClient *client = open_client("{\"dir\":\"%s\",\"access_token\":\"%s\"}", dir, token, "", "");
    misuse(client);
    record_and_read(client);
    vault(client);
    tables(argument[1]);
    REFUSED(MAREA_CODE_INVALID_INPUT, "server", marea_sync(client, &out, &error));
    marea_free(client);

    /* The token comes later than the client. */
    DONE(marea_users(dir, &out, &error));
    out[strlen(out) - 2] = '\0';
    char user[64];
    snprintf(user, sizeof user, "%s", out + 2);
    client = open_client("{\"dir\":\"%s\",\"user_id\":\"%s\",\"url\":\"%s\",\"anon_key\":\"%s\",\"background_sync\":false}", dir,
                         user, url, anon_key);
    DONE(marea_sync(client, &out, &error));
    SAYS("\"outcome\":\"need_token\"");
    DONE(marea_set_access_token(client, token, &error));
    sync_and_queue(client);

    snprintf(dir, sizeof dir, "%s/account", argument[1]);
    sign_in(dir, url, anon_key, argument[5], argument[6]);
    marea_string_free(out);
    puts("every entry did what it says");
    return 0;
}
