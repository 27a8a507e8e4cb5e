// The network of a test's device: on or off, with a server behind it or none.

import * as http from 'node:http'
import * as https from 'node:https'
import { TextDecoder, TextEncoder } from 'node:util'
import type { Turns } from './turns.js'

/** One request of the device's, as a server of the test's own sees it. */
export interface ServerRequest {
  readonly url: string
  /** What was sent, read as JSON. */
  readonly body: unknown
  /** The device's time. */
  readonly time: Date
}

/** What a server of the test's own answers. */
export interface ServerAnswer {
  readonly status: number
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** A server of the test's own, in place of a real one. One that throws cannot be reached. */
export type TestServer = (request: ServerRequest) => ServerAnswer | Promise<ServerAnswer>

const RealSocket = globalThis.WebSocket as typeof WebSocket | undefined

export class TestNetwork {
  readonly #turns: Turns
  readonly #real: boolean
  readonly #changed: (online: boolean) => void
  readonly #now: () => Date
  readonly #sockets = new Set<WebSocket>()
  #server: TestServer | null = null
  #online: boolean
  #attempts = 0

  /** `real`: there is a server at the address that the mirror is opened with. */
  constructor(turns: Turns, real: boolean, changed: (online: boolean) => void, now: () => Date) {
    this.#turns = turns
    this.#real = real
    this.#online = real
    this.#changed = changed
    this.#now = now
  }

  /** Whether the device has a network. */
  get isOnline(): boolean {
    return this.#online
  }

  /** How many requests the device has begun, those that failed among them. */
  get attempts(): number {
    return this.#attempts
  }

  /** The network goes: the browser says so, and every request fails. */
  offline(): void {
    this.#set(false)
  }

  /** The network comes back. Where the test has no server, requests fail all the same. */
  online(): void {
    this.#set(true)
  }

  /** Has a server of the test's own answer from now on, and puts the device online; null: as it was opened. */
  serve(server: TestServer | null): void {
    this.#server = server
    if (server) this.online()
  }

  /** @internal A socket for wake-ups, where the environment has sockets. Without the network it is refused, and closed when that goes. */
  openSocket(url: string): WebSocket {
    if (!this.#online || !this.#real || typeof RealSocket !== 'function') throw new TypeError('There is no network.')
    const socket = new RealSocket(url)
    this.#sockets.add(socket)
    socket.addEventListener('close', () => this.#sockets.delete(socket))
    return socket
  }

  #set(online: boolean): void {
    if (this.#online === online) return
    this.#online = online
    if (!online) for (const socket of this.#sockets) socket.close()
    this.#changed(online)
  }

  /** @internal What the engine calls. */
  fetch = (url: string, request: EngineRequest): Promise<EngineAnswer> => {
    this.#attempts++
    return this.#turns.during(this.#answer(url, request))
  }

  async #answer(url: string, request: EngineRequest): Promise<EngineAnswer> {
    if (!this.#online || (!this.#server && !this.#real)) throw new TypeError('There is no network.')
    if (!this.#server) return ask(url, request)
    const { status, body, headers = {} } = await this.#server({ url, body: readJson(await bytesOf(request.body)), time: this.#now() })
    return answerOf(status, headers, new TextEncoder().encode(JSON.stringify(body ?? null)))
  }
}

/** What the module and the page hand to `fetch`. */
export interface EngineRequest {
  method?: string
  headers?: Iterable<[string, string]> | Record<string, string>
  body?: Uint8Array | Blob | string | null
  signal?: { addEventListener(type: 'abort', listener: () => void): void }
}

/** What they use of an answer: a `Response`, where the environment has one. */
export interface EngineAnswer {
  readonly status: number
  readonly ok: boolean
  readonly headers: { get(name: string): string | null }
  arrayBuffer(): Promise<ArrayBuffer>
  text(): Promise<string>
}

/** Asks by Node's own HTTP: an environment of a test may have no `fetch`, or one with the rules of a page. */
async function ask(url: string, { method = 'GET', headers = {}, body, signal }: EngineRequest): Promise<EngineAnswer> {
  const { request } = url.startsWith('https:') ? https : http
  const bytes = await bytesOf(body)
  const named = Symbol.iterator in headers ? Object.fromEntries(headers) : headers
  return new Promise((resolve, reject) => {
    const refuse = (): void => reject(new TypeError('The server could not be reached.'))
    const options = { method, headers: named, agent: false } as const
    const asked = request(url, options, (answer) => {
      const chunks: Uint8Array[] = []
      answer.on('data', (chunk) => chunks.push(chunk))
      answer.on('error', refuse)
      answer.on('end', () => resolve(answerOf(answer.statusCode ?? 0, answer.headers, joined(chunks))))
    })
    asked.on('error', refuse)
    signal?.addEventListener('abort', () => {
      asked.destroy()
      refuse()
    })
    asked.end(bytes)
  })
}

function answerOf(status: number, headers: Readonly<Record<string, unknown>>, body: Uint8Array<ArrayBuffer>): EngineAnswer {
  const byName = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]))
  if (typeof Response === 'function' && status >= 200) {
    return new Response([204, 205, 304].includes(status) ? null : body, { status, headers: [...byName] })
  }
  return {
    status,
    ok: status >= 200 && status < 300,
    headers: { get: (name) => byName.get(name.toLowerCase()) ?? null },
    arrayBuffer: async () => body.buffer.slice(body.byteOffset, body.byteOffset + body.byteLength),
    text: async () => new TextDecoder().decode(body),
  }
}

async function bytesOf(body: EngineRequest['body']): Promise<Uint8Array | string | undefined> {
  if (body === null || body === undefined || typeof body === 'string' || ArrayBuffer.isView(body)) return body ?? undefined
  return new Uint8Array(await body.arrayBuffer())
}

function joined(chunks: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0))
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.byteLength
  }
  return whole
}

/** What is no JSON (the bytes of a file) is text. */
function readJson(body: Uint8Array | string | undefined): unknown {
  const text = typeof body === 'string' ? body : new TextDecoder().decode(body)
  try {
    return text === '' ? null : JSON.parse(text)
  } catch {
    return text
  }
}
