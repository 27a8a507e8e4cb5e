// The calls of a tab that wait for an answer, whoever will give it.

import { checkArguments } from './check.js'
import { fromWire, MareaError } from './errors.js'
import type { Answer, Args, Call, Method, Result } from './protocol.js'

// A page that has this many calls waiting is in a loop of its own making; memory must not be what stops it.
const MAX_CALLS_IN_FLIGHT = 10_000

interface Waiting {
  call: Call
  resolve(value: unknown): void
  reject(error: MareaError): void
}

export class WaitingCalls {
  readonly #waiting = new Map<number, Waiting>()
  #nextId = 1

  /** Notes a call. `added` gets it in the form in which it travels. */
  add<M extends Method>(method: M, args: Args<M>, added: (call: Call) => void): Promise<Answer<M>> {
    if (this.#waiting.size >= MAX_CALLS_IN_FLIGHT) {
      const message = `${MAX_CALLS_IN_FLIGHT} calls are already waiting for an answer; await some of them first.`
      return Promise.reject(new MareaError('too_many_calls', message, true))
    }
    return new Promise<Answer<M>>((resolve, reject) => {
      // What is refused here throws, and that rejects.
      const call: Call = { id: this.#nextId++, method, args: checkArguments(method, args) }
      this.#waiting.set(call.id, { call, resolve: (value) => resolve(value as Answer<M>), reject })
      added(call)
    })
  }

  /** All of them, in the order in which they were made: what the next leader is asked. */
  all(): Call[] {
    return [...this.#waiting.values()].map((waiting) => waiting.call)
  }

  /** Whether a write is among them. */
  get writing(): boolean {
    return this.all().some((call) => call.method === 'write')
  }

  /** An answer may come twice, from two leaders: the first one counts. */
  settle(results: Result[]): void {
    for (const result of results) {
      const waiting = this.#waiting.get(result.id)
      this.#waiting.delete(result.id)
      if ('error' in result) waiting?.reject(fromWire(result.error))
      else waiting?.resolve(result.value)
    }
  }

  get size(): number {
    return this.#waiting.size
  }

  rejectAll(reason: MareaError): void {
    for (const waiting of this.#waiting.values()) waiting.reject(reason)
    this.#waiting.clear()
  }

  /**
   * Rejects those that only read. A write may have been done by a leader that could not say so: were it rejected with word
   * that it may be tried again, it would be done twice. It goes on waiting for a leader that knows.
   */
  rejectReads(reason: MareaError): void {
    for (const [id, waiting] of this.#waiting) {
      if (waiting.call.method === 'write') continue
      this.#waiting.delete(id)
      waiting.reject(reason)
    }
  }
}
