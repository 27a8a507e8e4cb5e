/*
 * A program that is killed: for each id that comes on standard input it records a session of that id, and says so when it is
 * durable. It syncs in the background all the while. Its configuration is its only argument.
 */
#include <marea.h>

#include <stdio.h>
#include <string.h>

int main(int arguments, char **argument)
{
    MareaClient *client = NULL;
    char *error = NULL;
    if (arguments != 2 || marea_open(argument[1], &client, &error) != MAREA_CODE_OK) {
        fprintf(stderr, "%s\n", error != NULL ? error : "one argument");
        return 1;
    }
    char id[64], session[160];
    while (fgets(id, sizeof id, stdin) != NULL) {
        id[strcspn(id, "\n")] = '\0';
        snprintf(session, sizeof session, "{\"session_type\": \"qa\", \"duration_minutes\": 1, \"id\": \"%s\"}", id);
        if (marea_record_session(client, session, NULL, &error) != MAREA_CODE_OK) {
            fprintf(stderr, "%s\n", error);
            return 1;
        }
        printf("%s\n", id);
        fflush(stdout);
    }
    marea_close(client, 0, NULL, NULL);
    marea_free(client);
    return 0;
}
