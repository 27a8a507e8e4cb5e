// How errors cross between worker and page, and those of the package's own wording.
//
// Messages of the engine pass through unchanged; only what happens outside the engine is worded here.

import { MareaError } from './marea-error.js'
import type { MareaErrorCode } from './marea-error.js'

export { MareaError }
export type { MareaErrorCode }

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
