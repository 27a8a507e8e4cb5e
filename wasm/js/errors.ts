// The one error type of the package, and its form on the way between worker and page.
//
// Messages of the engine pass through unchanged; only what happens outside the engine is worded here.

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
  | 'wrong_user'
  | 'no_entropy'
  | 'unknown_table'
  | 'query_refused'
  | 'query_limit'
  | 'app_outdated'
  | 'worker_failed'
  | 'too_many_calls'
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

  constructor(code: MareaErrorCode, message: string, retry: boolean) {
    super(message)
    this.name = 'MareaError'
    this.code = code
    this.retry = retry
  }
}

/** An error as it crosses between worker and page. */
export interface WireError {
  code: MareaErrorCode
  message: string
  retry: boolean
}

/** Reads whatever was thrown. What is not ours becomes `internal`, without its text: it may quote a learner's data. */
export function toWire(cause: unknown): WireError {
  if (cause instanceof Error && cause.name === 'MareaError' && 'code' in cause) {
    return { code: String(cause.code), message: cause.message, retry: 'retry' in cause && cause.retry === true }
  }
  return {
    code: 'internal',
    message: 'Marea met a fault of its own. What it acknowledged is safe; if this goes on, reload the page.',
    // An engine that stopped is started again.
    retry: cause instanceof WebAssembly.RuntimeError,
  }
}

/** The counterpart of {@link toWire} on the page. */
export function fromWire(error: WireError): MareaError {
  return new MareaError(error.code, error.message, error.retry)
}

/** The engine met a fault that it cannot go on after, and is started again. */
export function stoppedError(): MareaError {
  return fromWire(toWire(new WebAssembly.RuntimeError()))
}

/** Somebody leads, and says nothing. */
export function silentError(): MareaError {
  const message =
    "Another tab or window has this user's mirror open and does not answer: its page may be frozen or stopped by a " +
    'debugger. Close it, or go on there.'
  return new MareaError('mirror_locked', message, true)
}

export function erasedError(): MareaError {
  return new MareaError('closed', "This user's mirror was erased from this device; open it again to begin anew.", false)
}

export function outdatedError(): MareaError {
  const message = 'A newer version of this app is open in another tab. Reload this page to go on; nothing is lost.'
  return new MareaError('app_outdated', message, false)
}
