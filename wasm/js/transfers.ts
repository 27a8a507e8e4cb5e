// Files on their way: the requests about them, one after the other, beside the sync. Which comes next, and when, is the engine's
// decision; what is uploaded is a slice of a file, of which this never holds the bytes.

import { MareaError, toWire } from './errors.js'
import type { FileBytes } from './files.js'
import { BlockHash } from './marea_wasm.js'
import type { MareaEngine } from './marea_wasm.js'

// As the sync's loop rests (loop.ts).
const LONGEST_REST_MS = 10 * 60_000
const SHORTEST_REST_MS = 100
const FAILED_REST_MS = 30_000
/** What is read of a refusal: Storage's are a line. */
const REFUSAL_CHARACTERS = 16 * 1024
/** Of a file that is fetched, something has to come as often as this. */
const SILENCE_LIMIT_MS = 30_000

/** What the engine asks for (wasm/src/transfers.rs). */
interface Asked {
  method: string
  path: string
  headers: Record<string, string>
  /** Of the bytes that it carries; empty for none. */
  name: string
  offset: number
  length: number
  timeout: number
  fresh: boolean
}

type Request = Pick<Asked, 'method' | 'headers'> & { body: Blob | string | null }

function read([method = '', path = '', name = '', offset, length, timeout, fresh, ...pairs]: string[]): Asked {
  const headers: Record<string, string> = {}
  for (let at = 0; at < pairs.length; at += 2) headers[pairs[at]!] = pairs[at + 1]!
  return { method, path, headers, name, offset: Number(offset), length: Number(length), timeout: Number(timeout), fresh: fresh === 'fresh' }
}

export interface TransferEvents {
  wantToken(fresh: boolean): Promise<string | null>
  /** A file got on; `moved` once there may be something for the sync. */
  changed(moved: boolean): void
  /** What the engine itself met. */
  failed(error: unknown): void
}

export class Transfers {
  readonly #engine: MareaEngine
  readonly #bytes: FileBytes
  readonly #server: { url: string; anonKey: string }
  readonly #events: TransferEvents
  readonly #stop = new AbortController()
  #online: boolean
  #pokes = 0
  #endRest: () => void = () => {}

  constructor(engine: MareaEngine, bytes: FileBytes, server: { url: string; anonKey: string }, online: boolean, events: TransferEvents) {
    this.#engine = engine
    this.#bytes = bytes
    this.#server = server
    this.#online = online
    this.#events = events
  }

  /** Runs until {@link stop}. */
  async run(): Promise<void> {
    const stopped = this.#stop.signal
    // Bytes without a row are what a crash has left.
    await this.#guarded(() => this.#bytes.sweep())
    while (!stopped.aborted) {
      const pokesBefore = this.#pokes
      const ok = await this.#guarded(() => this.#moveDue())
      if (!stopped.aborted && this.#pokes === pokesBefore) await this.#rest(ok)
    }
  }

  async #guarded(work: () => Promise<void>): Promise<boolean> {
    try {
      await work()
      return true
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#events.failed(error)
      return false
    }
  }

  /** Something may be due: a new file, a row that the server has now, a signal. */
  poke(): void {
    this.#pokes++
    this.#endRest()
  }

  setOnline(online: boolean): void {
    this.#online = online
    this.poke()
  }

  stop(): void {
    this.#stop.abort()
    this.#endRest()
  }

  async #moveDue(): Promise<void> {
    let moved = false
    for (;;) {
      const asked = this.#engine.nextTransfer()
      if (!asked) break
      moved = true
      this.#events.changed(false)
      const take = await this.#carry(read(asked))
      // The engine is gone then. Whoever leads next asks how much has arrived.
      if (this.#stop.signal.aborted) return
      take()
      this.#events.changed(true)
    }
    if (moved) await this.#bytes.sweep()
  }

  /** Carries a request. Gives what hands the engine what became of it. */
  async #carry(asked: Asked): Promise<() => void> {
    const fail = (code: string) => () => this.#engine.failTransfer(code)
    let bearer: string | null
    try {
      bearer = await this.#bearer(asked.fresh)
    } catch (error) {
      return fail(toWire(error).code)
    }
    if (!bearer) return fail('no_token')
    if (!this.#online) return fail('paused')
    let body: Blob | null = null
    if (asked.name) {
      const file = await this.#bytes.open(asked.name)
      if (!file || file.size < asked.offset + asked.length) return fail('file_missing')
      body = file.slice(asked.offset, asked.offset + asked.length)
    }
    const silence = new AbortController()
    const timer = setTimeout(() => silence.abort(), asked.timeout)
    try {
      const answer = await this.#fetch(asked.path, { ...asked, body }, bearer, silence)
      const text = (await answer.text()).slice(0, REFUSAL_CHARACTERS)
      const header = (name: string): string | undefined => answer.headers.get(name) ?? undefined
      const offset = header('upload-offset') ?? ''
      const at = /^\d{1,15}$/.test(offset) ? Number(offset) : undefined
      return () => this.#engine.applyTransfer(statusOf(answer), header('location'), at, header('retry-after'), header('date'), text)
    } catch {
      return fail(silence.signal.aborted ? 'timeout' : 'offline')
    } finally {
      clearTimeout(timer)
      silence.abort()
    }
  }

  /** Fetches a file; what comes must have this hash. */
  async download(path: string, sha256: string): Promise<Blob> {
    const silence = new AbortController()
    const answer = await this.#get(path, null, silence)
    const reader = answer.body?.getReader()
    const hash = new BlockHash()
    // Each is handed to the browser at once, which keeps large ones on its disk.
    const parts: Blob[] = []
    for (;;) {
      const timer = setTimeout(() => silence.abort(), SILENCE_LIMIT_MS)
      const piece = await reader?.read().catch(() => {
        throw unreached()
      })
      clearTimeout(timer)
      if (!piece || piece.done) break
      hash.update(piece.value)
      parts.push(new Blob([piece.value]))
    }
    silence.abort()
    const file = new Blob(parts, { type: answer.headers.get('content-type') ?? '' })
    if (hash.finish() === sha256) return file
    throw new MareaError('server_failed', 'What the server gave is not the file that was uploaded; try again.', true)
  }

  /** A link that opens a file without a token. */
  async link(path: string, expiresIn: number): Promise<string> {
    const silence = new AbortController()
    const answer = await this.#get(path, JSON.stringify({ expiresIn }), silence)
    const { signedURL } = ((await answer.json().catch(() => null)) ?? {}) as { signedURL?: unknown }
    silence.abort()
    if (typeof signedURL !== 'string') throw refused(200)
    return `${this.#base()}/storage/v1${signedURL}`
  }

  /** Asks once more with a fresh token where the first was refused: Supabase answers 400 to one that has expired, too. */
  async #get(path: string, json: string | null, silence: AbortController): Promise<Response> {
    if (!this.#online) throw unreached()
    for (const fresh of [false, true]) {
      const bearer = await this.#bearer(fresh)
      if (!bearer) break
      const timer = setTimeout(() => silence.abort(), SILENCE_LIMIT_MS)
      const headers: Record<string, string> = json === null ? {} : { 'content-type': 'application/json' }
      const request = { method: json === null ? 'GET' : 'POST', headers, body: json }
      const answer = await this.#fetch(path, request, bearer, silence).catch(() => {
        throw unreached()
      })
      clearTimeout(timer)
      if (answer.ok) return answer
      if (fresh || ![400, 401, 403].includes(answer.status)) throw refused(statusOf(answer))
    }
    throw new MareaError('unauthorized', 'Nobody is signed in, or not the user of this mirror; sign in and try again.', true)
  }

  async #bearer(fresh: boolean): Promise<string | null> {
    const token = await this.#events.wantToken(fresh).catch((error: unknown) => {
      if (toWire(error).code === 'account_deleted') throw error
      throw new MareaError('token_unavailable', 'The app could not give an access token now; try again.', true)
    })
    if (this.#stop.signal.aborted) throw unreached()
    return token && this.#engine.authorization(token)
  }

  /** `silence` is aborted by the caller too, once it has all of the answer. */
  #fetch(path: string, request: Request, authorization: string, silence: AbortController): Promise<Response> {
    const end = (): void => silence.abort()
    this.#stop.signal.addEventListener('abort', end, { signal: silence.signal })
    return fetch(this.#base() + path, {
      method: request.method,
      headers: { ...request.headers, authorization, apikey: this.#server.anonKey },
      body: request.body,
      // Followed, the token and the file would go to a stranger.
      redirect: 'manual',
      cache: 'no-store',
      signal: silence.signal,
    })
  }

  #base(): string {
    return this.#server.url.replace(/\/+$/, '')
  }

  #rest(ok: boolean): Promise<void> {
    let wake: number | undefined
    try {
      wake = this.#engine.nextTransferWake()
    } catch {
      // The mirror cannot be read now: looked at again later.
    }
    const soonest = ok ? SHORTEST_REST_MS : FAILED_REST_MS
    const restMs = Math.min(Math.max(wake === undefined ? LONGEST_REST_MS : wake - Date.now(), soonest), LONGEST_REST_MS)
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, restMs)
      this.#endRest = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

/** A redirect that is not followed shows no status of its own. */
const statusOf = ({ type, status }: Response): number => (type === 'opaqueredirect' ? 302 : status)

const unreached = (): MareaError =>
  new MareaError('offline', 'The file is not on this device, and the server cannot be reached; try again with a network.', true)

const refused = (status: number): MareaError =>
  new MareaError('server_failed', `The server does not give the file (HTTP status ${status}); try again later.`, true)
