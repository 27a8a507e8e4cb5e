// What is under way inside a test's device: messages on their way, requests. So that a test can wait until nothing is, without a
// guess at how long that takes.

import { performance } from 'node:perf_hooks'
import timers from 'node:timers'

// Those of Node, as they are when this is loaded: a test may replace the global ones.
const { setImmediate } = timers
const elapsedMs = performance.now.bind(performance)

// A server that never answers is given up by the engine, whose timers a clock that stands still would hold back.
const LIMIT_MS = 60_000

export class Turns {
  #taken = 0
  #underWay = 0

  /** Does something in a turn of its own, as a browser delivers a message. */
  later(call: () => void): void {
    this.#underWay++
    setImmediate(() => {
      this.#underWay--
      this.#taken++
      call()
    })
  }

  /** Notes something that takes its time. */
  async during<T>(work: Promise<T>): Promise<T> {
    this.#underWay++
    try {
      return await work
    } finally {
      this.#underWay--
      this.#taken++
    }
  }

  /** Something has happened. */
  note(): void {
    this.#taken++
  }

  /** Resolves when nothing is under way, and nothing has happened for two turns. */
  async settled(): Promise<void> {
    const limit = elapsedMs() + LIMIT_MS
    for (let [quiet, seen] = [0, -1]; quiet < 2 && elapsedMs() < limit; ) {
      await new Promise<void>((resolve) => setImmediate(resolve))
      quiet = this.#underWay === 0 && this.#taken === seen ? quiet + 1 : 0
      seen = this.#taken
    }
  }
}
