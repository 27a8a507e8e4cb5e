// The calls of a tab that wait for an answer, whoever will give it.

import { checkArguments } from './check.js'
import { fromWire, MareaError } from './errors.js'
import type { Journal } from './journal.js'
import type { Answer, Args, Call, Method, Results, Revision } from './protocol.js'
import type { Write } from './types.js'

// A page that has this many calls waiting is in a loop of its own making; memory must not be what stops it.
const MAX_CALLS_IN_FLIGHT = 10_000

// A call at which two engines stopped, the second one with nothing else to do, is not given to a third.
const MAX_STOPPED = 2

// Where there are no locks, two tabs may come to lead at once; they know of each other long before this.
const KEPT_MS = 60_000

/** A write that was done, and the revision that it is in. */
interface Acknowledged {
  call: Call
  revision: number
  at: number
}

interface Waiting {
  call: Call
  /** How many engines have stopped at it. */
  stopped: number
  resolve(value: unknown): void
  reject(error: MareaError): void
}

/** What a leader that has begun with an older image is asked again: done twice, it is done once. */
const KEPT = new Set<Method>(['write', 'importOnce', 'takeOver'])

export class WaitingCalls {
  readonly #waiting = new Map<number, Waiting>()
  readonly #journal: Journal
  #acknowledged: Acknowledged[] = []
  #nextId = 1

  constructor(journal: Journal) {
    this.#journal = journal
  }

  /** Notes a call. `added` gets it in the form in which it travels. */
  add<M extends Method>(method: M, args: Args<M>, added: (call: Call) => void): Promise<Answer<M>> {
    if (this.#waiting.size >= MAX_CALLS_IN_FLIGHT) {
      const message = `${MAX_CALLS_IN_FLIGHT} calls are already waiting for an answer; await some of them first.`
      return Promise.reject(new MareaError('too_many_calls', message, true))
    }
    return new Promise<Answer<M>>((resolve, reject) => {
      // What is refused here throws, and that rejects.
      const call: Call = { id: this.#nextId++, method, args: checkArguments(method, args) }
      this.#waiting.set(call.id, { call, stopped: 0, resolve: (value) => resolve(value as Answer<M>), reject })
      const write = writeOf(call)
      if (write) this.#journal.begun(write)
      added(call)
    })
  }

  /** All of them, in the order in which they were made: what the next leader is asked. */
  all(): Call[] {
    return [...this.#waiting.values()].map((waiting) => waiting.call)
  }

  /** The writes among them. */
  get writes(): Write[] {
    return this.all().flatMap((call) => writeOf(call) ?? [])
  }

  /** An answer may come twice, from two leaders: the first one counts. */
  settle({ results, revision }: Results): void {
    for (const result of results) {
      const waiting = this.#waiting.get(result.id)
      if (!waiting) continue
      if ('error' in result) {
        if (result.stopped && ++waiting.stopped < MAX_STOPPED) waiting.call.alone = true
        else this.#take(waiting).reject(fromWire(result.error))
      } else {
        this.#keep(waiting.call, revision)
        this.#take(waiting).resolve(result.value)
      }
    }
  }

  /**
   * What was acknowledged by a leader whose image the new one has not begun with is asked of that one again, before all else; its
   * callers have been told already.
   */
  askAgain(opened: Revision): void {
    if (opened === undefined) return
    const missing = this.#acknowledged.filter(({ revision }) => revision > opened)
    if (missing.length === 0) return
    this.#acknowledged = this.#acknowledged.filter(({ revision }) => revision <= opened)
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    const nobody = (): void => undefined
    const again = missing.map(({ call }) => ({ call, stopped: 0, resolve: nobody, reject: nobody }))
    for (const one of [...again, ...waiting]) this.#waiting.set(one.call.id, one)
  }

  #keep(call: Call, revision: Revision): void {
    if (revision === undefined || !KEPT.has(call.method)) return
    const at = performance.now()
    this.#acknowledged.push({ call, revision, at })
    const old = this.#acknowledged.findIndex((kept) => at - kept.at < KEPT_MS)
    const tooMany = this.#acknowledged.length - MAX_CALLS_IN_FLIGHT
    this.#acknowledged.splice(0, Math.max(old, tooMany, 0))
  }

  get size(): number {
    return this.#waiting.size
  }

  rejectAll(reason: MareaError): void {
    for (const waiting of [...this.#waiting.values()]) this.#take(waiting).reject(reason)
  }

  /**
   * Rejects those that only read. A write may have been done by a leader that could not say so: were it rejected with word
   * that it may be tried again, it would be done twice. It goes on waiting for a leader that knows.
   */
  rejectReads(reason: MareaError): void {
    for (const waiting of [...this.#waiting.values()]) {
      if (!WRITES.includes(waiting.call.method)) this.#take(waiting).reject(reason)
    }
  }

  /** It waits no longer: its caller is told. */
  #take(waiting: Waiting): Waiting {
    this.#waiting.delete(waiting.call.id)
    const write = writeOf(waiting.call)
    if (write) this.#journal.ended(write)
    return waiting
  }
}

/** What must not be done twice. */
const WRITES: Method[] = ['write', 'keepFile']

const writeOf = ({ method, args }: Call): Write | null => (method === 'write' ? (args[0] as Write) : null)
