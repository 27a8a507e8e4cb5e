// The background loop of the worker: sync until nothing is due, then rest until the engine's next wake, a signal or a
// write.
//
// Decides nothing about retries: when to try again is the engine's answer (`nextWake`). It only keeps the time.

import type { MareaEngine } from './marea_wasm.js'
import type { SyncReport } from './types.js'

// setTimeout cannot sleep for ever, and a machine that slept has a wrong idea of how long it waited.
const LONGEST_REST_MS = 10 * 60_000
// An engine that is due again at once after a round must not turn into a busy loop.
const SHORTEST_REST_MS = 100

export class SyncLoop {
  readonly #engine: MareaEngine
  readonly #statusChanged: () => void
  readonly #failed: (error: unknown) => void
  #online: boolean
  #stopped = false
  #asked = false
  #pokes = 0
  #endRest: () => void = () => {}
  #running: Promise<unknown> = Promise.resolve()
  #queued: Promise<SyncReport> | null = null

  /** `failed` is told of what the engine itself met, which is nothing that the network or the server does. */
  constructor(engine: MareaEngine, online: boolean, statusChanged: () => void, failed: (error: unknown) => void) {
    this.#engine = engine
    this.#online = online
    this.#statusChanged = statusChanged
    this.#failed = failed
  }

  /** Runs until {@link stop}. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      const pokesBefore = this.#pokes
      let failed = false
      if (this.#online) {
        // The engine keeps why in its status; the loop's only duty is to go on.
        await this.#round().catch((error: unknown) => {
          failed = true
          this.#failed(error)
        })
      }
      if (this.#stopped) return
      if (this.#pokes === pokesBefore) await this.#rest(failed)
    }
  }

  /** Something may be due: a write, a signal. */
  poke(): void {
    this.#pokes++
    this.#endRest()
  }

  /** The app's wish to use the network, or not, which the engine has been told: without it, rounds would be of no use. */
  setOnline(online: boolean): void {
    this.#online = online
    this.poke()
  }

  get online(): boolean {
    return this.#online
  }

  stop(): void {
    this.#stopped = true
    this.#endRest()
  }

  /** A round that somebody asked for: it does not wait for the time that the engine had planned. */
  syncNow(): Promise<SyncReport> {
    this.#asked = true
    return this.#round()
  }

  /** One round, after the one that may be under way: that one may already have passed what the caller wants sent. */
  #round(): Promise<SyncReport> {
    this.#queued ??= this.#startAfter(this.#running)
    return this.#queued
  }

  async #startAfter(earlier: Promise<unknown>): Promise<SyncReport> {
    await earlier
    this.#queued = null
    if (this.#asked) this.#engine.signal('sync_now')
    this.#asked = false
    const round = this.#engine.sync()
    this.#running = round.catch(() => undefined)
    this.#statusChanged()
    try {
      return await round
    } finally {
      this.#statusChanged()
    }
  }

  #untilWakeMs(): number {
    let wake: number | undefined
    try {
      wake = this.#engine.nextWake()
    } catch {
      // The mirror cannot be read now. The app's own calls are told why; the loop looks again later.
    }
    const untilWake = wake === undefined ? LONGEST_REST_MS : wake - Date.now()
    return Math.min(Math.max(untilWake, SHORTEST_REST_MS), LONGEST_REST_MS)
  }

  #rest(failed: boolean): Promise<void> {
    const restMs = this.#online && !failed ? this.#untilWakeMs() : LONGEST_REST_MS
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, restMs)
      this.#endRest = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
