// The one error type of the package. In a file of its own: `testing/` builds the engine's page a second time, and its errors are the
// same class all the same.

/**
 * What went wrong, as a stable word to branch on. More may be added. What happens between the device and the server is
 * not among them: that is in the status and in the report of a sync.
 */
export type MareaErrorCode =
  | 'invalid_input'
  | 'mirror_locked'
  | 'mirror_newer'
  | 'mirror_corrupt'
  | 'storage_unavailable'
  | 'storage_full'
  | 'storage_failed'
  | 'file_leaving'
  | 'wrong_user'
  | 'needs_account'
  | 'no_entropy'
  | 'unknown_table'
  | 'query_refused'
  | 'query_limit'
  | 'app_outdated'
  | 'worker_failed'
  | 'too_many_calls'
  | 'files_unavailable'
  | 'offline'
  | 'unauthorized'
  | 'token_unavailable'
  | 'server_failed'
  | 'account_deleted'
  | 'closed'
  | 'vault_not_set_up'
  | 'vault_set_up'
  | 'vault_locked'
  | 'wrong_passphrase'
  | 'other_passphrase'
  | 'key_damaged'
  | 'no_key'
  | 'too_many_guesses'
  | 'internal'
  | (string & {})

/** Every promise of this package that rejects, rejects with one of these. */
export class MareaError extends Error {
  /** A stable word to branch on; the message is for people. */
  readonly code: MareaErrorCode
  /** Whether the same call may succeed later without a change. */
  readonly retry: boolean
  /** Of an export that was recorded, and whose file was not. */
  declare readonly exportId?: string

  constructor(code: MareaErrorCode, message: string, retry: boolean) {
    super(message)
    this.name = 'MareaError'
    this.code = code
    this.retry = retry
  }
}
