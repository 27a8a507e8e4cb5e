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
// Where the engine itself failed it plans the next attempt like after any other failure, if it can still say so.
const FAILED_REST_MS = 1_000

export class SyncLoop {
  readonly #engine: MareaEngine
  readonly #statusChanged: () => void
  readonly #failed: (error: unknown) => void
  #online: boolean
  #stopped = false
  #asked = false
  #pokes = 0
  #endRest: () => void = () => {}
  /** The round that is under way, without its failure. */
  #running: Promise<SyncReport | undefined> | null = null
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

  /** Whether the app allows the network, which the engine has been told: without it, rounds would be of no use. */
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

  /**
   * A round that somebody asked for: it does not wait for the time that the engine had planned. The report tells of the
   * round that was under way too, because the caller has waited for that one as well.
   */
  async syncNow(): Promise<SyncReport> {
    this.#asked = true
    const underWay = this.#running
    const report = await this.#round()
    const earlier = await underWay
    if (!earlier) return report
    return {
      ...report,
      pushed: report.pushed + earlier.pushed,
      rejected: report.rejected + earlier.rejected,
      pulled: report.pulled + earlier.pulled,
    }
  }

  /** One round, after the one that may be under way: that one may already have passed what the caller wants sent. */
  #round(): Promise<SyncReport> {
    this.#queued ??= this.#startAfter(this.#running)
    return this.#queued
  }

  async #startAfter(earlier: Promise<unknown> | null): Promise<SyncReport> {
    await earlier
    this.#queued = null
    if (this.#asked) this.#engine.signal('sync_now')
    this.#asked = false
    const round = this.#engine.sync()
    const running = round.catch(() => undefined)
    this.#running = running
    this.#statusChanged()
    try {
      return await round
    } finally {
      if (this.#running === running) this.#running = null
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
    const restMs = this.#online ? Math.max(this.#untilWakeMs(), failed ? FAILED_REST_MS : 0) : LONGEST_REST_MS
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, restMs)
      this.#endRest = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
