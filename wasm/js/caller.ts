// The page's end of the channel: calls with promises, and answers to the worker's questions.
//
// Knows nothing of what the calls mean.

import { fromWire, MareaError } from './errors.js'
import type { Answer, Args, Method, ToPage, ToWorker, Topic } from './protocol.js'

// A page that has this many calls waiting is in a loop of its own making; memory must not be what stops it.
const MAX_CALLS_IN_FLIGHT = 10_000

interface Waiting {
  resolve(value: unknown): void
  reject(error: MareaError): void
}

export interface CallerEvents {
  /** The worker needs an access token; `fresh` when the last one was refused. */
  tokenWanted(fresh: boolean): Promise<string | null>
  /** Something can be read anew. */
  changed(topics: Topic[]): void
}

export class Caller {
  readonly #worker: Worker
  readonly #events: CallerEvents
  readonly #waiting = new Map<number, Waiting>()
  #nextId = 1
  #heard = false
  #ended: MareaError | null = null

  constructor(worker: Worker, events: CallerEvents) {
    this.#worker = worker
    this.#events = events
    worker.addEventListener('message', (event: MessageEvent<ToPage>) => this.#receive(event.data))
    worker.addEventListener('error', () => this.end(this.#heard ? faultError() : startError()))
    worker.addEventListener('messageerror', () => this.end(faultError()))
  }

  call<M extends Method>(method: M, ...args: Args<M>): Promise<Answer<M>> {
    if (this.#ended) return Promise.reject(this.#ended)
    if (this.#waiting.size >= MAX_CALLS_IN_FLIGHT) {
      const message = `${MAX_CALLS_IN_FLIGHT} calls are already waiting for an answer; await some of them first.`
      return Promise.reject(new MareaError('too_many_calls', message, true))
    }
    const id = this.#nextId++
    try {
      this.#post({ kind: 'call', id, method, args })
    } catch {
      // Only a value that cannot be cloned (a function, a DOM node) makes posting throw.
      const message = `The arguments of ${method} must be plain data.`
      return Promise.reject(new MareaError('invalid_input', message, false))
    }
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: (value) => resolve(value as Answer<M>), reject })
    })
  }

  /** Ends the worker. Calls that wait, and all later ones, reject with `reason`. */
  end(reason: MareaError): void {
    if (this.#ended) return
    this.#ended = reason
    this.#worker.terminate()
    for (const waiting of this.#waiting.values()) waiting.reject(reason)
    this.#waiting.clear()
  }

  #receive(message: ToPage): void {
    this.#heard = true
    switch (message.kind) {
      case 'answer':
        this.#take(message.id)?.resolve(message.value)
        break
      case 'failure':
        this.#take(message.id)?.reject(fromWire(message.error))
        break
      case 'token-wanted':
        void this.#answerToken(message.id, message.fresh)
        break
      case 'changed':
        this.#events.changed(message.topics)
        break
    }
  }

  async #answerToken(id: number, fresh: boolean): Promise<void> {
    let token: string | null = null
    try {
      token = await this.#events.tokenWanted(fresh)
    } catch {
      // The app has no token now (offline, signed out). Why is its own affair; the engine asks again later.
    }
    if (!this.#ended) this.#post({ kind: 'token', id, token: typeof token === 'string' ? token : null })
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    return waiting
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message)
  }
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
