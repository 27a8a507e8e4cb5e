// Where the leader works off its calls: writes that wait together share one transaction, and each caller hears of its
// own only when that is durable.
//
// Does not know who asks, nor how answers travel.

import { toWire } from './errors.js'
import type { WireError } from './errors.js'
import { carryOut } from './handlers.js'
import type { LeaderContext } from './handlers.js'
import { ALL_TOPICS, SOME_TABLE, tableTopic } from './protocol.js'
import type { Call, Result, Topic } from './protocol.js'
import type { Write } from './types.js'

/** Takes what was answered, all that is ready at once. */
export type Reply = (results: Result[]) => void

interface Open {
  call: Call
  reply: Reply
}

export class CallQueue {
  readonly #context: LeaderContext
  readonly #trapped: (error: WireError) => void
  readonly #displaced: () => void
  #queue: Open[] = []
  readonly #turn = new MessageChannel()
  #stopped = false
  #ended = false

  /**
   * `trapped` is told once, when the engine's memory can no longer be trusted; `displaced`, when another has come to own
   * the mirror.
   */
  constructor(context: LeaderContext, trapped: (error: WireError) => void, displaced: () => void) {
    this.#context = context
    this.#trapped = trapped
    this.#displaced = displaced
    this.#turn.port1.onmessage = () => this.#drain()
  }

  take(calls: Call[], reply: Reply): void {
    if (this.#queue.length === 0 && calls.every((call) => call.method !== 'write')) {
      this.#read(calls, reply)
      return
    }
    // Messages that have arrived already are taken first: their writes go into the same transaction.
    if (this.#queue.length === 0) this.#turn.port2.postMessage(null)
    for (const call of calls) this.#queue.push({ call, reply })
  }

  stop(): void {
    this.#ended = true
    this.#turn.port1.close()
  }

  #drain(): void {
    const queue = this.#queue
    this.#queue = []
    const answers = new Map<Reply, Result[]>()
    const answer = (reply: Reply, result: Result): void => {
      const list = answers.get(reply)
      if (list) list.push(result)
      else answers.set(reply, [result])
    }
    const writes = queue.filter((open) => open.call.method === 'write')
    for (const batch of [writes.filter(({ call }) => !call.alone), ...alone(writes)]) {
      const outcomes = this.#write(batch.map((open) => open.call.args[0] as Write))
      // Without outcomes nothing is answered: their tabs ask the next leader.
      if (outcomes) batch.forEach((open, index) => answer(open.reply, resultOf(open.call.id, outcomes[index])))
    }
    for (const [reply, results] of answers) reply(results)
    for (const { call, reply } of queue) if (call.method !== 'write') this.#read([call], reply)
  }

  /** For each write what it gave, or the error that it was refused with; null when another is to do them. */
  #write(writes: Write[]): unknown[] | null {
    if (this.#stopped || writes.length === 0) return null
    try {
      const outcomes: unknown[] = this.#context.engine.write(writes as never)
      this.#context.wrote([...writes.flatMap(topicsOf), 'queue', 'status'])
      this.#context.loop.poke()
      return outcomes
    } catch (error) {
      this.noteTrap(error)
      if (toWire(error).code === 'mirror_locked') {
        queueMicrotask(() => this.#displaced())
        return null
      }
      const refused = error instanceof Error ? error : new Error()
      return writes.map(() => refused)
    }
  }

  /** Answers of one message travel in one, but for those that take their time. */
  #read(calls: Call[], reply: Reply): void {
    const results: Result[] = []
    for (const { id, method, args } of calls) {
      // What is not answered is asked again of the next leader.
      if (this.#stopped) break
      try {
        const value = carryOut(this.#context, method as Exclude<typeof method, 'write'>, args)
        if (value instanceof Promise) this.#replyLater(id, value, reply)
        else results.push({ id, value })
      } catch (error) {
        results.push(this.#failure(id, error))
      }
    }
    if (results.length > 0) reply(results)
  }

  #replyLater(id: number, value: Promise<unknown>, reply: Reply): void {
    // Whoever leads next is asked again for what is not answered.
    const unlessEnded = (result: () => Result): void => void (this.#ended || reply([result()]))
    value.then(
      (value) => unlessEnded(() => ({ id, value })),
      (error: unknown) => unlessEnded(() => this.#failure(id, error)),
    )
  }

  #failure(id: number, error: unknown): Result {
    this.noteTrap(error)
    return refusal(id, error)
  }

  /** After a trap nothing more is read from the engine's memory or written with it. */
  noteTrap(error: unknown): void {
    if (this.#stopped || !isTrap(error)) return
    this.#stopped = true
    this.#trapped(toWire(error))
  }

  /** Whether the engine has met a fault that it cannot go on after. */
  get stopped(): boolean {
    return this.#stopped
  }
}

const isTrap = (error: unknown): boolean => error instanceof WebAssembly.RuntimeError

/** Those that are done one by one, each a batch of its own. */
const alone = (writes: Open[]): Open[][] => writes.filter(({ call }) => call.alone).map((write) => [write])

/** What a write may change beside the queue. */
const TOPICS: Partial<Record<Write['kind'], Topic[]>> = {
  record_session: ['progress', 'activity'],
  record_event: ['progress', 'activity'],
  create_export: ['exports'],
  update_export: ['exports'],
  delete_export: ['exports'],
}

function topicsOf(write: Write): Topic[] {
  switch (write?.kind) {
    case 'insert':
    case 'update':
    case 'add':
    case 'delete':
      return [tableTopic(write.table), SOME_TABLE]
    case 'batch':
      return [...write.changes.map(({ table }) => tableTopic(table)), SOME_TABLE]
    default:
      return TOPICS[write?.kind] ?? ALL_TOPICS
  }
}

function resultOf(id: number, outcome: unknown): Result {
  return outcome instanceof Error ? refusal(id, outcome) : { id, value: outcome }
}

function refusal(id: number, error: unknown): Result {
  return { id, error: toWire(error), ...(isTrap(error) && { stopped: true }) }
}
