// A tab's seat: the worker that may come to lead for it.
//
// A seat is either taken (its worker waits for the lock, or leads) or empty. Emptying it ends the worker at once, which
// frees the lock and the mirror's files: all that was acknowledged is durable, and what was not is asked again elsewhere.

import { MareaError } from './errors.js'
import type { FromSeat, ToSeat } from './protocol.js'

/** Something that may come to lead for this tab. */
export interface Seat {
  post(message: ToSeat): void
  /** Ends it, now. It says nothing more. */
  end(): void
}

export interface SeatEvents {
  receive(message: FromSeat): void
  /** It ended by itself and will not come back. */
  broken(reason: MareaError): void
  /** Some of what it needs has come. */
  loading(): void
}

/** A worker of this tab's own. */
export function takeWorkerSeat(events: SeatEvents): Seat {
  // Written out in one expression, because that is the form that bundlers look for.
  const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'marea' })
  let heard = false
  let ended = false
  const end = (): void => {
    ended = true
    worker.terminate()
  }
  const fail = (reason: MareaError): void => {
    if (ended) return
    end()
    events.broken(reason)
  }
  worker.addEventListener('message', (event: MessageEvent<FromSeat>) => {
    heard = true
    if (!ended) events.receive(event.data)
  })
  worker.addEventListener('error', () => fail(heard ? faultError() : startError()))
  worker.addEventListener('messageerror', () => fail(faultError()))
  return { post: (message) => worker.postMessage(message), end }
}

function startError(): MareaError {
  const message =
    "Marea's worker could not be started. Check that worker.js and marea_wasm_bg.wasm are served beside the app, and " +
    "that its Content-Security-Policy allows worker-src 'self' and script-src 'wasm-unsafe-eval'."
  return new MareaError('worker_failed', message, true)
}

function faultError(): MareaError {
  const message = "Marea's worker stopped. What it acknowledged is safe; reload the page to go on."
  return new MareaError('internal', message, false)
}
