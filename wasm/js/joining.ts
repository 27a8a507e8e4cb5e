// How long a page waits until its mirror is open, and what it says when that is too long: by what it last heard of.
//
// The time is that of silence. Bytes of the module that still come begin it again.

import { MareaError, silentError } from './errors.js'

/** What the page waits for: its worker's script, then its turn or another leader, then its own opening of the mirror. */
export type Stage = 'starting' | 'waiting' | 'opening'

// A leader that opens a large mirror, or upgrades it, is silent meanwhile. So is one's own worker, and that is no other tab.
const LIMITS_MS: Record<Stage, number> = { starting: 15_000, waiting: 15_000, opening: 120_000 }

export class Joining {
  readonly joined: Promise<void>
  resolve!: () => void
  reject!: (error: MareaError) => void
  #stage: Stage = 'starting'
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor() {
    this.joined = new Promise<void>((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.heard()
  }

  /** Something has come: the time begins again. */
  heard(stage: Stage = this.#stage): void {
    this.#stage = stage
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.reject(tooLong(this.#stage)), LIMITS_MS[this.#stage])
  }

  end(): void {
    clearTimeout(this.#timer)
  }
}

function tooLong(stage: Stage): MareaError {
  const limit = LIMITS_MS[stage] / 1000
  if (stage === 'starting') {
    const message = `Marea's worker has not begun within ${limit} s: worker.js does not come, or the line is too slow now. Try again.`
    return new MareaError('worker_failed', message, true)
  }
  if (stage === 'opening') {
    const message = `This device's storage has not opened the mirror within ${limit} s. Try again; nothing is lost.`
    return new MareaError('storage_failed', message, true)
  }
  return silentError()
}
