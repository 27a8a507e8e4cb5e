// The clock of a test's device: the time of day, and every timer of the engine. It runs, until it is told otherwise.
//
// Only the device has it: the test's own `Date` and `setTimeout` stay as they are, and may be replaced by whatever the test uses.

import { performance } from 'node:perf_hooks'
import timers from 'node:timers'
import type { Handle } from 'node:timers'
import { MareaError } from '../errors.js'
import type { Turns } from './turns.js'

// Those of Node, as they are when this is loaded: a test may replace the global ones.
const { setTimeout, clearTimeout } = timers
const elapsedMs = performance.now.bind(performance)
const RealDate = Date

// A timer that waits longer does not keep a process from ending.
const KEEPS_ALIVE_MS = 5_000
// Of an interval, an advance shows at most so many: a month has 130,000 of 20 s.
const MAX_TICKS = 100

interface Timer {
  id: number
  dueMs: number
  everyMs: number | null
  call: () => void
}

export class TestClock {
  readonly #turns: Turns
  readonly #timers = new Map<number, Timer>()
  #nextId = 1
  /** What is added to the time that has passed on the device to have the time of day. */
  #originMs: number
  #passedMs = 0
  /** When the clock began to run, by the machine's; null while it stands still. */
  #runsSinceMs: number | null = elapsedMs()
  #alarm: Handle | null = null
  #working: Promise<void> = Promise.resolve()

  constructor(turns: Turns, start: Date | string | number | undefined) {
    this.#turns = turns
    this.#originMs = start === undefined ? RealDate.now() : millisOf(start)
  }

  /** The device's time. */
  get now(): Date {
    return new RealDate(this.nowMs)
  }

  /** @internal */
  get nowMs(): number {
    return Math.floor(this.#originMs + this.#passed)
  }

  /** @internal As `performance.now`. */
  get passedMs(): number {
    return this.#passed
  }

  /** Stands still until {@link resume}: only {@link advance} and {@link set} move it. */
  pause(): void {
    this.#passedMs = this.#passed
    this.#runsSinceMs = null
    this.#arm()
  }

  /** Runs again. */
  resume(): void {
    this.#runsSinceMs ??= elapsedMs()
    this.#arm()
  }

  /** Lets time pass, up to 400 days: all that becomes due meanwhile is done, in order. Resolves when nothing is under way any more. */
  advance(ms: number): Promise<void> {
    if (!(ms >= 0 && ms <= 400 * 86_400_000)) throw invalid('ms: expected milliseconds, from 0 to 400 days')
    return this.#inTurn(async () => {
      const end = this.#passed + ms
      for (let next = this.#earliest(end); next; next = this.#earliest(end)) {
        this.#passedMs = Math.max(this.#passed, next.dueMs)
        this.#fire(next, ms / MAX_TICKS)
        await this.#turns.settled()
      }
      this.#passedMs = end
    })
  }

  /**
   * Sets the time, as when a device wakes up or its clock is put right: what became due meanwhile is done once. A time before now is a
   * clock that was put back. Resolves when nothing is under way any more.
   */
  set(time: Date | string | number): Promise<void> {
    const to = millisOf(time)
    return this.#inTurn(async () => {
      const from = this.nowMs
      if (to >= from) this.#passedMs = this.#passed + (to - from)
      else this.#originMs += to - from
      const due = [...this.#timers.values()].filter(({ dueMs }) => dueMs <= this.#passed)
      for (const timer of due.sort((one, other) => one.dueMs - other.dueMs)) {
        if (this.#timers.has(timer.id)) this.#fire(timer, 0)
      }
    })
  }

  /** Resolves when nothing is under way on the device: no message, and no request. What waits for a time does not count. */
  settled(): Promise<void> {
    return this.#turns.settled()
  }

  /** @internal As `setTimeout`, or with `everyMs` as `setInterval`. */
  start(call: () => void, ms: number, everyMs: number | null): number {
    const id = this.#nextId++
    this.#timers.set(id, { id, dueMs: this.#passed + Math.max(ms || 0, 0), everyMs, call })
    this.#arm()
    return id
  }

  /** @internal */
  stop(id: unknown): void {
    if (this.#timers.delete(id as number)) this.#arm()
  }

  /** @internal The device's class of dates. */
  dateClass(): typeof Date {
    const clock = this
    return class extends RealDate {
      constructor(...given: []) {
        super(...(given.length > 0 ? given : ([clock.nowMs] as unknown as [])))
      }
      static now(): number {
        return clock.nowMs
      }
      // A date of the app's is one.
      static [Symbol.hasInstance](value: unknown): boolean {
        return value instanceof RealDate
      }
    } as typeof Date
  }

  get #passed(): number {
    return this.#passedMs + (this.#runsSinceMs === null ? 0 : elapsedMs() - this.#runsSinceMs)
  }

  /** With the clock standing still, and everything under way done before and after. */
  #inTurn(move: () => Promise<void>): Promise<void> {
    const work = this.#working.then(async () => {
      await this.#turns.settled()
      const ran = this.#runsSinceMs !== null
      this.pause()
      await move()
      if (ran) this.resume()
      else this.#arm()
      await this.#turns.settled()
    })
    this.#working = work.catch(() => undefined)
    return work
  }

  #earliest(endMs: number): Timer | undefined {
    let earliest: Timer | undefined
    for (const timer of this.#timers.values()) {
      if (timer.dueMs <= endMs && (!earliest || timer.dueMs < earliest.dueMs)) earliest = timer
    }
    return earliest
  }

  #fire(timer: Timer, leastEveryMs: number): void {
    if (timer.everyMs === null) this.#timers.delete(timer.id)
    else timer.dueMs = this.#passed + Math.max(timer.everyMs, leastEveryMs, 1)
    this.#turns.note()
    timer.call()
  }

  /** Waits, by the machine's clock, for what is due next: while the clock stands still, only what is due already. */
  #arm(): void {
    clearTimeout(this.#alarm)
    this.#alarm = null
    const next = this.#earliest(this.#runsSinceMs === null ? this.#passed : Infinity)
    if (!next) return
    const waitMs = Math.min(Math.max(next.dueMs - this.#passed, 0), 2 ** 31 - 1)
    this.#alarm = setTimeout(() => {
      this.#alarm = null
      const due = this.#earliest(this.#passed)
      if (due) this.#fire(due, 0)
      this.#arm()
    }, waitMs)
    if (next.everyMs !== null || waitMs > KEEPS_ALIVE_MS) this.#alarm.unref()
  }
}

function millisOf(time: Date | string | number): number {
  const millis = new RealDate(time).getTime()
  if (Number.isNaN(millis)) throw invalid(`time: expected a date, or text like 2026-03-01T08:00:00Z`)
  return millis
}

const invalid = (message: string): MareaError => new MareaError('invalid_input', message, false)
