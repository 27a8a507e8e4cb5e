// A mirror that the native engine has open: each call is one of the addon's, and its answer is what a browser's worker gives.
//
// Checks what an app passes, as a tab does, and decides nothing else.

import type { Access } from '../access.js'
import { checkArguments } from '../check.js'
import { erasedError, fromWire, MareaError, toWire } from '../errors.js'
import type { WireError } from '../errors.js'
import { ALL_TOPICS, BUILT_IN, EVERY_TABLE, SOME_TABLE, tableTopic } from '../protocol.js'
import type { Answer, Args, Method, Topic } from '../protocol.js'
import { askApp } from '../tokens.js'
import type { Addon, NativeMirror, Outcome } from './addon.js'

// A program that has this many calls waiting is in a loop of its own making; memory must not be what stops it.
const MAX_CALLS_IN_FLIGHT = 10_000

export interface NativeEvents {
  tokenWanted(fresh: boolean): Promise<string | null>
  changed(topics: Topic[]): void
}

/** What the addon tells (native/src/calls/). */
type Event =
  | { kind: 'token-wanted'; id: number; fresh: boolean }
  | { kind: 'changed'; tables: string[] | null; status: boolean; files: boolean; keys: boolean; catalogue: boolean }

export class NativeAccess implements Access {
  readonly userId: string
  readonly leads = true
  dayStart = 0
  readonly #mirror: NativeMirror
  /** Those that must be done before the mirror is closed. */
  readonly #writing = new Set<Promise<unknown>>()
  #waiting = 0
  #ended: MareaError | null = null

  private constructor(userId: string, mirror: NativeMirror) {
    this.userId = userId
    this.#mirror = mirror
  }

  /** `options` as native/src/calls/options.rs reads them. */
  static async open(addon: Addon, options: { userId: string }, events: NativeEvents): Promise<NativeAccess> {
    const opening: Promise<NativeMirror | string> = addon.open(JSON.stringify(options), (text) => {
      const event = JSON.parse(text) as Event
      if (event.kind === 'changed') return events.changed(topicsOf(event))
      void askApp(events.tokenWanted, event.fresh).then(async ({ token, failed = false }) => {
        const mirror = await opening.catch(() => '')
        if (typeof mirror !== 'string') mirror.token(event.id, token, failed)
      })
    })
    const mirror = await opening.catch((error: unknown) => {
      throw error instanceof MareaError ? error : stopped()
    })
    if (typeof mirror === 'string') throw wired(mirror)
    const access = new NativeAccess(options.userId, mirror)
    access.dayStart = await access.call('dayStart', null)
    return access
  }

  async call<M extends Method>(method: M, ...given: Args<M>): Promise<Answer<M>> {
    if (this.#ended) throw this.#ended
    if (this.#waiting >= MAX_CALLS_IN_FLIGHT) {
      const message = `${MAX_CALLS_IN_FLIGHT} calls are already waiting for an answer; await some of them first.`
      throw new MareaError('too_many_calls', message, true)
    }
    const args: unknown[] = checkArguments(method, given)
    const call = method === 'keepFile' ? this.#keepFile(args) : this.#ask(method, args)
    this.#waiting++
    if (method === 'write' || method === 'keepFile') {
      this.#writing.add(call)
      void call.catch(() => undefined).then(() => this.#writing.delete(call))
    }
    try {
      return answerOf(method, await call.catch(() => ({ error: JSON.stringify(toWire(stopped())) }))) as Answer<M>
    } finally {
      this.#waiting--
    }
  }

  // What the addon throws rejects.
  async #ask(method: Method, args: unknown[]): Promise<Outcome> {
    return this.#mirror.call(method, JSON.stringify(args))
  }

  async #keepFile([asked, file]: unknown[]): Promise<Outcome> {
    const bytes = new Uint8Array(await (file as Blob).arrayBuffer())
    return this.#mirror.call('keepFile', JSON.stringify([asked]), bytes)
  }

  async leave(): Promise<void> {
    if (this.#ended) return
    this.#ended = new MareaError('closed', 'Marea was closed; open it again.', false)
    await Promise.allSettled([...this.#writing])
    // What it could not put in order, the next open does.
    await this.#mirror.close(false).catch(() => undefined)
  }

  async erase(): Promise<void> {
    if (this.#ended) throw this.#ended
    this.#ended = erasedError()
    await Promise.allSettled([...this.#writing])
    answerOf('close', await this.#mirror.close(true).catch(() => ({ error: JSON.stringify(toWire(stopped())) })))
  }
}

function topicsOf({ tables, status, files, keys, catalogue }: Event & { kind: 'changed' }): Topic[] {
  if (!tables) return ALL_TOPICS
  const topics = tables.flatMap((table) => BUILT_IN[table] ?? [tableTopic(table), SOME_TABLE])
  if (status) topics.push('queue', 'status')
  if (files) topics.push('files')
  if (keys) topics.push('keys')
  if (catalogue) topics.push(EVERY_TABLE)
  return topics
}

function answerOf(method: string, { json, text, bytes, error }: Outcome): unknown {
  if (error !== undefined) throw wired(error)
  if (bytes) return method === 'exportFile' ? new Blob([bytes], text ? { type: text } : {}) : bytes
  if (text !== undefined) return text
  return json === undefined || json === 'null' ? null : withoutNulls(JSON.parse(json))
}

const wired = (error: string): MareaError => fromWire(JSON.parse(error) as WireError)

/** A call that the addon could not end has met a fault of Marea's own. */
const stopped = (): MareaError =>
  new MareaError('internal', 'Marea met a fault of its own. What it acknowledged is safe; if this goes on, restart the program.', false)

/** The app's own JSON, in which a null is a null. */
const AS_IT_IS = new Set(['filters', 'data', 'values'])

/** What there is not is `undefined`, as in a browser. */
function withoutNulls(value: unknown): unknown {
  if (typeof value !== 'object') return value
  if (value === null) return undefined
  if (Array.isArray(value)) return value.map(withoutNulls)
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, AS_IT_IS.has(name) && member !== null ? member : withoutNulls(member)]))
}
