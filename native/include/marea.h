/*
 * libmarea: a learner's progress, written on this machine at once, and brought to the app's Postgres later, exactly once.
 * Generated from native/c by `cargo xtask header`. How to build, install and link it: docs/DESKTOP.md; a program: examples/c.
 *
 * Rules for all functions:
 *
 * - Texts are UTF-8 and end with a NUL. A text that a function takes is read during the call and not kept.
 * - Rich values are JSON, in and out. Instants are UTC ("2026-11-23T12:00:00Z"), days are "2026-11-23", ids are UUIDs.
 * - A function that can fail returns a MareaCode, 0 for success. Its last argument, which may be NULL, gets a text when it fails:
 *   {"code": the code's name, "message": what happened and what to do, "may_retry": whether the same call may succeed later}. No
 *   message holds a password, a token, a key, or what a learner wrote.
 * - Outputs may be NULL when they are not wanted, but for the handles of marea_open and marea_watch_*, and what gets a new
 *   recovery code, which is nowhere else. When a call fails they are NULL, 0 or false.
 * - What a `char **` output gets is the caller's: give it to marea_string_free, which wipes it. A `const char *` that is
 *   returned, or handed to a callback, is not.
 * - Handles are freed by the caller: a MareaClient with marea_free, a MareaWatch with marea_watch_stop. NULL for a handle, a
 *   needed text or a callback is MAREA_CODE_NULL_ARGUMENT, bytes that are not UTF-8 are MAREA_CODE_INVALID_UTF8; a handle that
 *   was freed is undefined behaviour, as in any C library.
 * - Threads: every function may be called from every thread, with one client also at the same time. A call waits for the disk
 *   (milliseconds) and never for a network, but for marea_sync, marea_sign_in, marea_sign_out and a marea_close that flushes.
 *   Callbacks come on threads of the library: see MareaCallback.
 * - Processes: any number may have one mirror open. Handles do not survive fork(): open after it.
 * - A panic inside the library is caught and becomes MAREA_CODE_INTERNAL; it does not end the program.
 */

#ifndef MAREA_H
#define MAREA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/**
 * How a call ended. 0 is success; everything else is a reason, with the same names that the `marea` command prints.
 */
enum MareaCode
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Done.
   */
  MAREA_CODE_OK = 0,
  /**
   * A pointer that must not be NULL is NULL. The message names the argument.
   */
  MAREA_CODE_NULL_ARGUMENT = 1,
  /**
   * A text is not UTF-8. The message names the argument.
   */
  MAREA_CODE_INVALID_UTF8 = 2,
  /**
   * A value cannot be used. The message names the field and says what it should be.
   */
  MAREA_CODE_INVALID_INPUT = 3,
  /**
   * The client was closed. What was acknowledged is safe.
   */
  MAREA_CODE_CLOSED = 4,
  /**
   * The mirror belongs to another user.
   */
  MAREA_CODE_WRONG_USER = 5,
  /**
   * The catalogue has no such table.
   */
  MAREA_CODE_UNKNOWN_TABLE = 6,
  /**
   * A query does, or reads, what no query may. The message says what.
   */
  MAREA_CODE_QUERY_REFUSED = 7,
  /**
   * A query needs more rows, bytes, steps or time than one may take. The message says of what.
   */
  MAREA_CODE_QUERY_LIMIT = 8,
  /**
   * Only an account has this, and nobody has signed in.
   */
  MAREA_CODE_NEEDS_ACCOUNT = 9,
  /**
   * Another program holds the mirror.
   */
  MAREA_CODE_MIRROR_LOCKED = 10,
  /**
   * A newer version of Marea has written the mirror. It is left as it is.
   */
  MAREA_CODE_MIRROR_NEWER = 11,
  /**
   * The file is another program's database, or a damaged mirror that another program has open. It is left as it is. (A damaged
   * mirror that nobody else has open is set aside when it is opened, and its queue goes into a fresh one.)
   */
  MAREA_CODE_MIRROR_CORRUPT = 12,
  /**
   * The disk is full. Nothing was written.
   */
  MAREA_CODE_STORAGE_FULL = 13,
  /**
   * A file or folder cannot be used. Nothing was written.
   */
  MAREA_CODE_STORAGE_FAILED = 14,
  /**
   * The file that the export had is still being deleted at the server. Nothing was written; attach it again later.
   */
  MAREA_CODE_FILE_LEAVING = 15,
  /**
   * The server does not accept the sign-in, or it has ended. The queue is kept.
   */
  MAREA_CODE_UNAUTHORIZED = 20,
  /**
   * The server cannot be reached. (A sync reports that as its outcome, not as a code.)
   */
  MAREA_CODE_OFFLINE = 21,
  /**
   * The sign-in service failed; try again later.
   */
  MAREA_CODE_SERVER_FAILED = 22,
  /**
   * The file of remembered sign-ins cannot be understood. It is left as it is.
   */
  MAREA_CODE_SIGN_IN_UNREADABLE = 23,
  /**
   * The system's keychain cannot be used. What was to be kept there is kept nowhere.
   */
  MAREA_CODE_KEYCHAIN_UNAVAILABLE = 24,
  /**
   * Another program has been syncing this mirror all the while.
   */
  MAREA_CODE_SYNC_BUSY = 25,
  /**
   * The server's gateway refuses the API key (publishable or anon key): it is wrong, of another project, or retired. The sign-in is kept.
   */
  MAREA_CODE_API_KEY_REFUSED = 26,
  /**
   * The account no longer exists on the server. What was recorded is kept on this device.
   */
  MAREA_CODE_ACCOUNT_DELETED = 27,
  /**
   * No passphrase was chosen yet.
   */
  MAREA_CODE_VAULT_NOT_SET_UP = 30,
  /**
   * A passphrase was chosen already.
   */
  MAREA_CODE_VAULT_SET_UP = 31,
  /**
   * The vault is locked: unlock it first.
   */
  MAREA_CODE_VAULT_LOCKED = 32,
  /**
   * The passphrase or the recovery code is another one.
   */
  MAREA_CODE_WRONG_PASSPHRASE = 33,
  /**
   * The key was sealed under another passphrase: unlock once more with that one.
   */
  MAREA_CODE_OTHER_PASSPHRASE = 34,
  /**
   * The key is damaged: put it in anew.
   */
  MAREA_CODE_KEY_DAMAGED = 35,
  /**
   * There is no key of this provider.
   */
  MAREA_CODE_NO_KEY = 36,
  /**
   * What this device remembered opens nothing any more: ask for the passphrase.
   */
  MAREA_CODE_VAULT_FORGOTTEN = 37,
  /**
   * Too many wrong guesses: the message says how long to wait.
   */
  MAREA_CODE_TOO_MANY_GUESSES = 38,
  /**
   * The system gave no randomness.
   */
  MAREA_CODE_NO_ENTROPY = 90,
  /**
   * The system gave no thread, or none of what a thread needs.
   */
  MAREA_CODE_NO_RESOURCES = 91,
  /**
   * A defect of this library. What was acknowledged is safe; open the client anew.
   */
  MAREA_CODE_INTERNAL = 99,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum MareaCode MareaCode;
#else
typedef int32_t MareaCode;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What an app may have noticed; for `marea_signal`.
 */
enum MareaSignal
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * The network came back.
   */
  MAREA_SIGNAL_ONLINE = 1,
  /**
   * The network went away.
   */
  MAREA_SIGNAL_OFFLINE = 2,
  /**
   * The app became visible, or has heard that something changed on the server.
   */
  MAREA_SIGNAL_VISIBLE = 3,
  /**
   * There is a new sign-in.
   */
  MAREA_SIGNAL_NEW_TOKEN = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum MareaSignal MareaSignal;
#else
typedef int32_t MareaSignal;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * One learner's mirror, open. All entries may be called from any thread, also at the same time.
 */
typedef struct MareaClient MareaClient;

/**
 * A value that is being watched.
 */
typedef struct MareaWatch MareaWatch;

/**
 * Called with a value as JSON, which belongs to the library and is good until the function returns; with NULL, once and last, when
 * the client was closed.
 *
 * It is called on a thread of the library, one for each watch: for one watch never twice at the same time, for two watches
 * perhaps. It may call any function of the library, also `marea_watch_stop` for its own watch. It must not throw or longjmp. A slow
 * one misses values in between, never the last.
 */
typedef void (*MareaCallback)(void *context, const char *value);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Takes a text back that this library gave, wiping it first. NULL is as good.
 */
void marea_string_free(char *text);

/**
 * The library's version, "0.1.0" for example. Never to be freed.
 */
const char *marea_version(void);

/**
 * The stable name of a code, "storage_full" for example; "unknown" for one that this library does not have. Never to be freed.
 */
const char *marea_code_name(int32_t code);

/**
 * Opens a learner's mirror, making folder and file when they are missing. Waits for no network. With a server and tokens, the
 * client then syncs by itself in the background.
 *
 * `config` is a JSON object:
 *
 * - `"dir"`: the data folder. Required.
 * - `"user_id"`: whose mirror, a UUID. Without it: the user of `access_token`, or of the last sign-in on this folder.
 * - `"guest"`: true for who has not signed in: a mirror on this device alone, for `marea_claim` at sign-in.
 * - `"url"`, `"publishable_key"` (or `"anon_key"`): the server, before `/rest/v1`, and the project's public key. Without them: those of the sign-in.
 * - `"access_token"`: the signed-in user's access token, for apps with a sign-in of their own. The next one is handed in
 *   with `marea_set_access_token`. Without it: the sign-in that `marea_sign_in` remembered, kept fresh by the client.
 * - `"email"`: which of several sign-ins on this folder.
 * - `"schema"`: the catalogue of the mirrored tables, as `marea schema` writes it. Without it: learned from the server, and kept.
 * - `"background_sync"`: false to sync only when `marea_sync` is called.
 * - `"wakeups"`: false to open no socket on which the server, where it does so, tells of other devices' changes.
 * - `"online"`: false to use no network until `marea_set_online`.
 * - `"day_starts_at"`: at which minute after midnight the learner's day begins, 0 to 360; without it: what the mirror has, at first 0.
 * - `"allow_http"`: true to let the server be another machine by `http://`, where everybody on the way can read the token.
 *
 * `client` gets the handle, which is to be freed with `marea_free`.
 */
MareaCode marea_open(const char *config,
                     struct MareaClient **client,
                     char **error);

/**
 * Closes the mirror: later calls with this handle, which stays valid, answer MAREA_CODE_CLOSED, and watches end. What waits is
 * sent first when that takes no longer than `flush_ms` milliseconds; what was not is sent after the next start. `pending` gets
 * the number of mutations that still wait.
 */
MareaCode marea_close(const struct MareaClient *client,
                      uint32_t flush_ms,
                      uint32_t *pending,
                      char **error);

/**
 * Frees the handle, after closing it without a flush if nobody has closed it. No other call with this handle may be under way
 * or follow. NULL is as good.
 */
void marea_free(struct MareaClient *client);

/**
 * Closes the client and removes its mirror for good: all that was recorded, what waits for the server too. What the server has
 * stays there. The handle is still to be freed.
 */
MareaCode marea_erase(const struct MareaClient *client,
                      char **error);

/**
 * Records a completed session. It is on the disk when this returns and counts at once in `marea_progress`.
 *
 * `session` is a JSON object: `"session_type"` is required, 1 to 50 characters; `"duration_minutes"`, `"qa_attempts"`,
 * `"qa_correct"`, `"images_processed"`, `"descriptions_generated"`, `"vocabulary_learned"`, `"phrases_saved"` are numbers;
 * `"started_at"`, `"ended_at"` are instants (`"2026-11-23T12:00:00Z"`), `"local_date"` a day; `"session_data"` an object of the
 * app's own; `"id"` a UUID for callers that may call twice.
 *
 * `recorded` gets `{"id": UUID, "pending": number of mutations that wait}`.
 */
MareaCode marea_record_session(const struct MareaClient *client,
                               const char *session,
                               char **recorded,
                               char **error);

/**
 * Records an award that belongs to no session.
 *
 * `event` is a JSON object of numbers, all optional: `"points"`, `"minutes"`, `"questions_answered"`, `"questions_correct"`,
 * `"vocabulary_learned"`, `"descriptions"`, `"images"`, `"mastered_words"`, `"learning_words"`, `"new_words"`; also
 * `"achievements"`, `"occurred_at"`, `"local_date"`, `"id"`. `recorded` is as for `marea_record_session`.
 */
MareaCode marea_record_event(const struct MareaClient *client,
                             const char *event,
                             char **recorded,
                             char **error);

/**
 * Totals, averages and streaks, with everything recorded on this device in them. `progress` gets a JSON object with the columns
 * of `user_progress`: `"total_sessions"`, `"current_streak_days"`, `"average_accuracy"`, and so on.
 */
MareaCode marea_progress(const struct MareaClient *client,
                         char **progress,
                         char **error);

/**
 * The days from `from` to `to` (`"2026-11-01"`), both included, oldest first; days without activity are left out. `days` gets a
 * JSON array.
 */
MareaCode marea_activity(const struct MareaClient *client,
                         const char *from,
                         const char *to,
                         char **days,
                         char **error);

/**
 * The learner's local day by this machine's clock and time zone, `2026-11-23`, for `marea_activity`.
 */
MareaCode marea_today(const struct MareaClient *client, char **day, char **error);

/**
 * What waits, what was refused, and how the last sync went. `status` gets a JSON object: `"user_id"`, `"pending"`, `"rejected"`,
 * `"connection"`, `"last_synced_at"`, `"last_error": {"code", "message"}`, and so on.
 */
MareaCode marea_status(const struct MareaClient *client,
                       char **status,
                       char **error);

/**
 * Sends what waits and fetches what is new, now, until nothing is left to say or the server cannot be spoken to. Blocks this
 * thread for that long (a request waits 30 seconds at most); other threads may use the client meanwhile.
 *
 * Being offline is an outcome, not an error. `report` gets a JSON object: `"outcome"` (`"done"`, `"offline"`,
 * `"need_token"`, `"refused"`, `"retry_later"`), `"pushed"`, `"rejected"`, `"pulled"`, `"pending"`, `"last_error"`.
 */
MareaCode marea_sync(const struct MareaClient *client,
                     char **report,
                     char **error);

/**
 * Tells the client what the app has noticed; `signal` is one of `MareaSignal`. On Linux it hears of the network by itself.
 */
MareaCode marea_signal(const struct MareaClient *client,
                       int32_t signal,
                       char **error);

/**
 * The app's own wish to use the network: once a call with false has returned, no request begins until one with true, and then
 * one begins at once. A request that is under way is finished. `"paused"` in the status shows it.
 */
MareaCode marea_set_online(const struct MareaClient *client,
                           bool online,
                           char **error);

/**
 * Hands in a new access token, in place of the last one, and lets a sync go on that waited for it; NULL when nobody is signed
 * in any more. When one is needed, the status' `"last_error"` has the code `"unauthorized"`. Not for clients that were opened on a
 * remembered sign-in: they see to it themselves.
 */
MareaCode marea_set_access_token(const struct MareaClient *client,
                                 const char *access_token,
                                 char **error);

/**
 * The file that the mirror is in.
 */
MareaCode marea_mirror_path(const struct MareaClient *client, char **path, char **error);

/**
 * Brings in what an app kept before it had Marea, once: called again, here or on another device, nothing comes in twice, and a `name`
 * of which nothing was refused is done. `items` is a JSON array; each item has one of `"session"` (as for `marea_record_session`,
 * with `"ended_at"`, `"started_at"` or `"local_date"`), `"event"` (as for `marea_record_event`, with `"occurred_at"` or
 * `"local_date"`), and `"table"` with `"key"` and `"values"`; a `"key"` makes an item the same one everywhere.
 *
 * `imported` gets `{"imported": N, "known": N, "refused": [{"index": N, "message": "..."}]}`.
 */
MareaCode marea_import_once(const struct MareaClient *client,
                            const char *name,
                            const char *items,
                            char **imported,
                            char **error);

/**
 * Brings what was done in this folder before anybody signed in (`"guest"` of `marea_open`) into the account of `client`, exactly
 * once; call it after a sign-in. What was interrupted is ended by the next call.
 *
 * `claimed` gets `{"claimed": N, "known": N, "kept": N}`: writes that came in, that were here already, and that stay for another
 * account which has begun to claim them.
 */
MareaCode marea_claim(const struct MareaClient *client,
                      char **claimed,
                      char **error);

/**
 * Asks for an export. `export_` is a JSON object: `"export_type"` and `"export_format"` are required, `"filters"` is an object,
 * `"id"` a UUID. `recorded` is as for `marea_record_session`; its id is the export's.
 */
MareaCode marea_create_export(const struct MareaClient *client,
                              const char *export_,
                              char **recorded,
                              char **error);

/**
 * Says what became of an export; of two devices that say it differently, the later one wins, column by column. `change` is a
 * JSON object: `"status"`, `"records_count"`, `"file_size_bytes"`, `"file_url"`, `"error_message"`, and so on.
 */
MareaCode marea_update_export(const struct MareaClient *client,
                              const char *id,
                              const char *change,
                              char **recorded,
                              char **error);

/**
 * A page of exports, newest first. `query` is a JSON object or NULL: `"status"`, `"export_type"`, `"limit"` (1 to 500, 50 when
 * absent), `"after"`: the `"next"` of the page before. `page` gets `{"exports": [...], "next": {...} or null}`.
 */
MareaCode marea_exports(const struct MareaClient *client,
                        const char *query,
                        char **page,
                        char **error);

/**
 * One export; `export_` gets a JSON object, or `null` when this mirror has none with this id.
 */
MareaCode marea_export(const struct MareaClient *client, const char *id, char **export_, char **error);

/**
 * Makes a row of a mirrored table. `row` is a JSON object of its columns; a key that is a UUID is made where it is absent. `recorded`
 * is as for `marea_record_session`, and has the row's `"key"`.
 */
MareaCode marea_table_insert(const struct MareaClient *client,
                             const char *table,
                             const char *row,
                             char **recorded,
                             char **error);

/**
 * One row; `row` gets a JSON object, or `null` when this mirror has none with this key.
 */
MareaCode marea_table_get(const struct MareaClient *client,
                          const char *table,
                          const char *key,
                          char **row,
                          char **error);

/**
 * Sets columns of a row; of two devices that set one, the later one wins. `values` is a JSON object of these columns.
 */
MareaCode marea_table_update(const struct MareaClient *client,
                             const char *table,
                             const char *key,
                             const char *values,
                             char **recorded,
                             char **error);

/**
 * Adds to counters of a row; every device's additions count. `additions` is a JSON object: how much is added to which column.
 */
MareaCode marea_table_add(const struct MareaClient *client,
                          const char *table,
                          const char *key,
                          const char *additions,
                          char **recorded,
                          char **error);

/**
 * Deletes a row, everywhere.
 */
MareaCode marea_table_delete(const struct MareaClient *client,
                             const char *table,
                             const char *key,
                             char **recorded,
                             char **error);

/**
 * A page of rows. `query` is a JSON object or NULL: `"where"` (by column a value, or an object with `gt`, `gte`, `lt`, `lte`, `ne`,
 * `in`), `"order"` (columns, with `-` in front from the greatest), `"limit"` (1 to 1000, 100 when absent), `"after"` (the key of
 * the last row of the page before). `rows` gets a JSON array.
 */
MareaCode marea_table_list(const struct MareaClient *client,
                           const char *table,
                           const char *query,
                           char **rows,
                           char **error);

/**
 * How many rows there are. `filter` is a JSON object as the `"where"` of `marea_table_list`, or NULL for all.
 */
MareaCode marea_table_count(const struct MareaClient *client,
                            const char *table,
                            const char *filter,
                            uint64_t *count,
                            char **error);

/**
 * Writes that belong together: all of them or none, here and on the server. `writes` is a JSON array of 1 to 500 objects: `"op"`
 * (`insert`, `update`, `add`, `delete`), `"table"`, `"key"`, `"values"`. `id` is a UUID or NULL: the same one again is the same
 * batch, and is not done again. `recorded` gets a JSON array, an object as of `marea_table_insert` for each.
 */
MareaCode marea_batch(const struct MareaClient *client,
                      const char *id,
                      const char *writes,
                      char **recorded,
                      char **error);

/**
 * Runs one SELECT, WITH or VALUES statement of SQLite's SQL over the mirrored tables, `user_progress`, `daily_activity` and
 * `export_history`: at most 10,000 rows, 16 MiB and 5 s. `params` is a JSON array or NULL, bound by place. `result` gets
 * `{"columns": [names], "rows": [[values], ...], "tables": [those that were read]}`; integers beyond 2^53 are texts, bytes base64.
 */
MareaCode marea_query(const struct MareaClient *client,
                      const char *sql,
                      const char *params,
                      char **result,
                      char **error);

/**
 * What is mirrored: `catalogue` gets a JSON object, or `null` before it is known.
 */
MareaCode marea_catalogue(const struct MareaClient *client, char **catalogue, char **error);

/**
 * All that waits for the server, oldest first: a JSON array of objects with `"id"`, `"table"`, `"values"` and so on.
 */
MareaCode marea_pending(const struct MareaClient *client, char **mutations, char **error);

/**
 * All that the server refused, oldest first: as `marea_pending`, each with the reason.
 */
MareaCode marea_rejected(const struct MareaClient *client, char **mutations, char **error);

/**
 * Queues a refused mutation again. `found` says whether there was one with this id.
 */
MareaCode marea_retry(const struct MareaClient *client, const char *id, bool *found, char **error);

/**
 * Forgets a refused mutation for good. `found` says whether there was one with this id.
 */
MareaCode marea_discard(const struct MareaClient *client, const char *id, bool *found, char **error);

/**
 * Queues all refused mutations again, all or none. `count` says how many there were.
 */
MareaCode marea_retry_all(const struct MareaClient *client, uint64_t *count, char **error);

/**
 * Forgets all refused mutations for good, all or none. `count` says how many there were.
 */
MareaCode marea_discard_all(const struct MareaClient *client, uint64_t *count, char **error);

/**
 * All that the server does not have, as one JSON document: what was recorded, in plain columns. For its owner only.
 */
MareaCode marea_export_queue(const struct MareaClient *client, char **document, char **error);

/**
 * State and last syncs as one JSON document for support: codes, counts and times; no learner's data, no secret.
 */
MareaCode marea_diagnostics(const struct MareaClient *client, char **document, char **error);

/**
 * Reads the whole mirror and says whether its file is in order: MAREA_CODE_MIRROR_CORRUPT when it is not.
 */
MareaCode marea_check(const struct MareaClient *client, char **error);

/**
 * Ends a watch and frees its handle. When this returns, the callback is not running and is not called again; called from inside
 * of the callback, that is so as soon as the callback returns. To be called once for each watch, also after the client was
 * closed. Holding a lock here that the callback waits for would wait for ever. NULL is as good.
 */
void marea_watch_stop(struct MareaWatch *watch);

/**
 * Watches what `marea_progress` gives.
 */
MareaCode marea_watch_progress(const struct MareaClient *client,
                               MareaCallback callback,
                               void *context,
                               struct MareaWatch **watch,
                               char **error);

/**
 * Watches what `marea_activity` gives for these days.
 */
MareaCode marea_watch_activity(const struct MareaClient *client,
                               const char *from,
                               const char *to,
                               MareaCallback callback,
                               void *context,
                               struct MareaWatch **watch,
                               char **error);

/**
 * Watches what `marea_exports` gives for this query, which may be NULL.
 */
MareaCode marea_watch_exports(const struct MareaClient *client,
                              const char *query,
                              MareaCallback callback,
                              void *context,
                              struct MareaWatch **watch,
                              char **error);

/**
 * Watches what `marea_table_list` gives for this query, which may be NULL.
 */
MareaCode marea_watch_table(const struct MareaClient *client,
                            const char *table,
                            const char *query,
                            MareaCallback callback,
                            void *context,
                            struct MareaWatch **watch,
                            char **error);

/**
 * Watches what `marea_query` gives.
 */
MareaCode marea_watch_query(const struct MareaClient *client,
                            const char *sql,
                            const char *params,
                            MareaCallback callback,
                            void *context,
                            struct MareaWatch **watch,
                            char **error);

/**
 * Watches what `marea_status` gives.
 */
MareaCode marea_watch_status(const struct MareaClient *client,
                             MareaCallback callback,
                             void *context,
                             struct MareaWatch **watch,
                             char **error);

/**
 * Watches what `marea_rejected` gives.
 */
MareaCode marea_watch_rejected(const struct MareaClient *client,
                               MareaCallback callback,
                               void *context,
                               struct MareaWatch **watch,
                               char **error);

/**
 * Signs in with an email and a password, and remembers the sign-in (never the password) in the data folder `dir`. Ends within ten
 * seconds, whatever the server does. `account` gets `{"user_id", "email", "url", "publishable_key"}`.
 */
MareaCode marea_sign_in(const char *dir,
                        const char *url,
                        const char *publishable_key,
                        const char *email,
                        const char *password,
                        char **account,
                        char **error);

/**
 * As `marea_sign_in`, where the server may be another machine by `http://`: everybody on the way can then read the password and the
 * tokens. The sign-in remembers it. This machine itself (`localhost`, `127.0.0.0/8`, `[::1]`) needs no leave.
 */
MareaCode marea_sign_in_allowing_http(const char *dir,
                                      const char *url,
                                      const char *publishable_key,
                                      const char *email,
                                      const char *password,
                                      char **account,
                                      char **error);

/**
 * Forgets a sign-in, and ends it at the server when that can be reached: `told` says whether it has heard. Mirror and queue stay,
 * for the next sign-in of the same user; `marea_erase` removes them. MAREA_CODE_UNAUTHORIZED when there is no such sign-in.
 */
MareaCode marea_sign_out(const char *dir,
                         const char *url,
                         const char *user_id,
                         bool *told,
                         char **error);

/**
 * Who has signed in on a data folder, the latest first: a JSON array of what `marea_sign_in` gives.
 */
MareaCode marea_accounts(const char *dir, char **accounts, char **error);

/**
 * Moves the tokens of the sign-ins on a data folder, later ones too, from its file `session.json` into the system's keychain, or
 * back. MAREA_CODE_KEYCHAIN_UNAVAILABLE when there is none; then they stay where they are.
 */
MareaCode marea_keep_tokens_in_keychain(const char *dir,
                                        bool keep,
                                        char **error);

/**
 * Whose mirrors lie in a data folder, signed in or not: a JSON array of UUIDs. Opens none of them.
 */
MareaCode marea_users(const char *dir, char **users, char **error);

/**
 * Whether the vault is open, and which keys there are. `status` gets `{"state": "not_set_up", "locked" or "unlocked", "keys":
 * [{"provider", "state", "hint"}], "locks_at", "has_recovery_code"}`; hints only while it is open.
 */
MareaCode marea_vault_status(const struct MareaClient *client,
                             char **status,
                             char **error);

/**
 * Chooses the first passphrase, of 15 characters or more and not easily guessed: MAREA_CODE_INVALID_INPUT says why not. The vault is open afterwards. Takes a fifth of a second or more, as
 * everything that takes a passphrase.
 */
MareaCode marea_vault_set_up(const struct MareaClient *client,
                             const char *passphrase,
                             char **error);

/**
 * A passphrase that nobody guesses, to offer to the learner: five words that can be spoken, 80 random bits.
 * `marea_string_free` wipes it.
 */
MareaCode marea_vault_generate_passphrase(char **passphrase, char **error);

/**
 * Opens the vault; when it is open already, opens what else this passphrase opens. `outcome` gets `{"recovery_code": null,
 * "passphrase_is_old": whether it was changed on another device, "other_passphrase": [providers whose keys need another
 * passphrase], "rewritten": number}`.
 */
MareaCode marea_vault_unlock(const struct MareaClient *client,
                             const char *passphrase,
                             char **outcome,
                             char **error);

/**
 * Forgets the data key: the passphrase is needed again.
 */
MareaCode marea_vault_lock(const struct MareaClient *client, char **error);

/**
 * Locks by itself when nothing was asked of the vault for so many milliseconds; 0: never. It starts with 15 minutes.
 */
MareaCode marea_vault_lock_after(const struct MareaClient *client, uint64_t idle_ms, char **error);

/**
 * Seals a key, in place of the provider's last one. MAREA_CODE_OTHER_PASSPHRASE when the passphrase was changed on another
 * device: unlock with the new one. `provider` is `openai`, `unsplash` or `anthropic`. `recorded` is as for
 * `marea_record_session`.
 */
MareaCode marea_vault_put(const struct MareaClient *client,
                          const char *provider,
                          const char *key,
                          char **recorded,
                          char **error);

/**
 * A key in the clear. `marea_string_free` wipes it.
 */
MareaCode marea_vault_get(const struct MareaClient *client, const char *provider, char **key, char **error);

/**
 * Notes that the provider has just accepted the key, which the app has tried.
 */
MareaCode marea_vault_validated(const struct MareaClient *client, const char *provider, char **error);

/**
 * Takes a provider's key away, on all devices. Needs no passphrase. `recorded` is as for `marea_record_session`.
 */
MareaCode marea_vault_remove(const struct MareaClient *client, const char *provider, char **recorded, char **error);

/**
 * Changes the passphrase, and seals everything with a new data key: who knows the old passphrase and has an old envelope opens
 * nothing that is put from now on. `outcome` is as for `marea_vault_unlock`; where there was a recovery code it has a new one, to be
 * shown once.
 */
MareaCode marea_vault_change_passphrase(const struct MareaClient *client,
                                        const char *current,
                                        const char *new_passphrase,
                                        char **outcome,
                                        char **error);

/**
 * Changes the passphrase and nothing else: the recovery code and remembered devices go on opening the vault. So do the old
 * passphrase and an old envelope, together, also what is put later: not for a passphrase that somebody may know.
 */
MareaCode marea_vault_rewrap_passphrase(const struct MareaClient *client,
                                        const char *current,
                                        const char *new_passphrase,
                                        char **outcome,
                                        char **error);

/**
 * Seals everything with a new data key. Where there was a recovery code, `outcome` has a new one, to be shown once.
 */
MareaCode marea_vault_rotate(const struct MareaClient *client, const char *current, char **outcome, char **error);

/**
 * Makes a recovery code, in place of the one before. It can be shown now and never again.
 */
MareaCode marea_vault_make_recovery_code(const struct MareaClient *client, char **recovery_code, char **error);

/**
 * Chooses a new passphrase with the recovery code, and seals everything with a new data key. `outcome` is as for
 * `marea_vault_unlock`, with a new recovery code, to be shown once.
 */
MareaCode marea_vault_recover(const struct MareaClient *client,
                              const char *recovery_code,
                              const char *new_passphrase,
                              char **outcome,
                              char **error);

/**
 * Chooses a new passphrase with the recovery code and changes nothing else: see `marea_vault_rewrap_passphrase`.
 */
MareaCode marea_vault_recover_rewrap(const struct MareaClient *client,
                                     const char *recovery_code,
                                     const char *new_passphrase,
                                     char **outcome,
                                     char **error);

/**
 * "Remember this device": lets the system's keychain keep what opens the vault, which must be open. Where there is none, nothing
 * is kept: MAREA_CODE_KEYCHAIN_UNAVAILABLE. May wait for a person who is asked to unlock the keychain, a minute at most, as the
 * next two.
 */
MareaCode marea_vault_remember_device(const struct MareaClient *client,
                                      char **error);

/**
 * Opens the vault with what the keychain keeps. `remembered` says whether there was something; if not, the passphrase is needed.
 * MAREA_CODE_VAULT_FORGOTTEN when the passphrase was changed or the vault was rotated or reset since.
 */
MareaCode marea_vault_unlock_remembered(const struct MareaClient *client,
                                        bool *remembered,
                                        char **error);

/**
 * Lets the keychain forget what opens the vault; `found` says whether it had something.
 */
MareaCode marea_vault_forget_device(const struct MareaClient *client, bool *found, char **error);

/**
 * Gives up all keys and the passphrase with them, on all devices.
 */
MareaCode marea_vault_reset(const struct MareaClient *client, char **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MAREA_H */
