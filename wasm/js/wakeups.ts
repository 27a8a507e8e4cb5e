// The socket of wake-ups, where the engine is: opened, read and closed as the engine says. Nobody needs it while no page is
// looked at, so the pages are asked from time to time.
//
// Decides nothing about waiting, tokens or what a message means: that is the engine's.

import type { MareaEngine } from './marea_wasm.js'

// So long the engine is left alone when it fails.
const TROUBLE_MS = 30_000
// While there is a socket pages are asked so long after the last answer, and again. The third time the socket is closed: after a minute.
const ASK_MS = 20_000
const UNANSWERED = 2

export interface WakeUpEvents {
  wantToken(fresh: boolean): Promise<string | null>
  /** A sync may be due. */
  sync(): void
  /** The status has changed. */
  changed(): void
  /** Asks all pages whether somebody looks at them; they answer by {@link WakeUps.seen}. */
  ask(): void
}

export class WakeUps {
  readonly #engine: MareaEngine
  readonly #url: string
  readonly #events: WakeUpEvents
  #socket: WebSocket | null = null
  /** Another one with each opening and closing: what was begun before is of no use any more. */
  #turn = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #asking: ReturnType<typeof setInterval> | undefined
  #unanswered = 0
  #wanted = false
  #stopped = false

  constructor(engine: MareaEngine, server: { url: string; anonKey: string }, events: WakeUpEvents) {
    this.#engine = engine
    this.#events = events
    const base = server.url.replace(/^http/, 'ws').replace(/\/$/, '')
    this.#url = `${base}/realtime/v1/websocket?vsn=1.0.0&apikey=${encodeURIComponent(server.anonKey)}`
  }

  /** Something happened that the engine was told in another way. */
  look(): void {
    this.#tell('look')
  }

  /** Somebody looks at a page. */
  seen(): void {
    this.#unanswered = 0
    if (this.#socket) this.#startAsking()
    if (!this.#wanted) this.#want(true)
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#drop()
  }

  #startAsking(): void {
    clearInterval(this.#asking)
    this.#asking = setInterval(() => this.#ask(), ASK_MS)
  }

  #ask(): void {
    if (++this.#unanswered <= UNANSWERED) this.#events.ask()
    else this.#want(false)
  }

  #want(wanted: boolean): void {
    if (this.#stopped) return
    this.#wanted = wanted
    try {
      this.#engine.wantWakeups(wanted)
    } catch {
      // It has stopped; the next leader has an engine of its own.
    }
    this.look()
  }

  #tell(event: 'look' | 'opened' | 'text' | 'token' | 'closed', text = ''): void {
    if (this.#stopped) return
    clearTimeout(this.#timer)
    let step: string[]
    try {
      step = this.#engine.socket(event, text)
    } catch {
      this.#timer = setTimeout(() => this.look(), TROUBLE_MS)
      return
    }
    const [words = '', at, ...frames] = step
    const says = (word: string): boolean => words.includes(word)
    if (says('close')) this.#drop()
    for (const frame of frames) this.#socket?.send(frame)
    if (at) this.#timer = setTimeout(() => this.look(), Math.max(Number(at) - Date.now(), 0))
    if (says('sync')) this.#events.sync()
    if (says('changed')) this.#events.changed()
    if (says('open')) void this.#open(says('fresh'))
    if (says('token')) void this.#renew(says('fresh'))
  }

  async #open(fresh: boolean): Promise<void> {
    this.#drop()
    const turn = this.#turn
    const token = await this.#token(fresh)
    if (turn !== this.#turn) return
    if (token === null) return this.#tell('closed')
    const lost = (): void => {
      if (turn !== this.#turn) return
      this.#drop()
      this.#tell('closed')
    }
    try {
      const socket = (this.#socket = new WebSocket(this.#url))
      this.#startAsking()
      socket.onopen = () => turn === this.#turn && this.#tell('opened', token)
      socket.onmessage = ({ data }) => turn === this.#turn && typeof data === 'string' && this.#tell('text', data)
      socket.onclose = lost
    } catch {
      lost()
    }
  }

  async #renew(fresh: boolean): Promise<void> {
    const turn = this.#turn
    const token = await this.#token(fresh)
    if (turn === this.#turn && token !== null) this.#tell('token', token)
  }

  #token(fresh: boolean): Promise<string | null> {
    return this.#events.wantToken(fresh).catch(() => null)
  }

  #drop(): void {
    this.#turn++
    clearInterval(this.#asking)
    this.#socket?.close()
    this.#socket = null
  }
}
