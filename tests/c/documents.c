/* The C that docs/DESKTOP.md shows, compiled: each of its lines stands in here, and a test compares. It is not run. */

#include <marea.h>
#include <stdio.h>

int main(void)
{
    MareaClient *client; char *error = NULL, *text;
    if (marea_open("{\"dir\": \"/home/ada/.app\", \"user_id\": \"...\"}", &client, &error) != MAREA_CODE_OK) { puts(error); }
    marea_record_session(client, "{\"session_type\": \"qa\", \"duration_minutes\": 12}", NULL, NULL);    /* durable, sent later */
    marea_progress(client, &text, NULL); puts(text); marea_string_free(text);
    marea_close(client, 2000, NULL, NULL); marea_free(client);
    return 0;
}
