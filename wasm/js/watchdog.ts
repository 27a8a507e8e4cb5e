// How long a tab waits for a leader that lets its calls wait, and what it does meanwhile.

// How long calls wait before their leader is asked whether it is there, and how long it may not answer.
const ASK_AFTER_MS = 2_000
const SILENCE_LIMIT_MS = 20_000

export interface Waiter {
  /** Whether any call still waits. */
  waits(): boolean
  /** A page that is frozen hears nothing, and blames nobody for it. */
  asleep(): boolean
  ask(): void
  lost(): void
}

export class Watchdog {
  readonly #waiter: Waiter
  #asking: ReturnType<typeof setInterval> | undefined
  #unheard = 0

  constructor(waiter: Waiter) {
    this.#waiter = waiter
  }

  /** Asks after the leader for as long as calls wait. */
  begin(): void {
    if (this.#asking !== undefined) return
    this.#unheard = 0
    this.#asking = setInterval(() => this.#tick(), ASK_AFTER_MS)
  }

  /** The leader, or another one, has said something. */
  heard(): void {
    this.#unheard = 0
  }

  end(): void {
    clearInterval(this.#asking)
    this.#asking = undefined
  }

  #tick(): void {
    if (!this.#waiter.waits()) return this.end()
    this.#waiter.ask()
    if (++this.#unheard * ASK_AFTER_MS < SILENCE_LIMIT_MS || this.#waiter.asleep()) return
    this.#unheard = 0
    this.#waiter.lost()
  }
}

// So often an engine that stops is started again within this time: a fault that comes back at once must not keep a device busy
// with starting.
const MAX_RESTARTS = 5
const RESTARTS_WITHIN_MS = 60_000

/** Counts how often something was started again. */
export class Restarts {
  #at: number[] = []

  /** Whether it may be now, and so long after the last time; if so, it counts. */
  begin(afterMs = 0): boolean {
    const now = performance.now()
    this.#at = this.#at.filter((at) => now - at < RESTARTS_WITHIN_MS)
    const may = this.#at.length < MAX_RESTARTS && now - (this.#at.at(-1) ?? -Infinity) >= afterMs
    if (may) this.#at.push(now)
    return may
  }
}

/** Waits for something that ought to come soon, and no longer than `limitMs`. */
export function within(limitMs: number, begin: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, limitMs)
    begin(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
