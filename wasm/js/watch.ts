// One value that listeners follow: read anew after a change, told only when it differs.
//
// Does not know what it reads. At most one read is under way; changes meanwhile lead to one more.

import { checkFunction } from './check-kinds.js'
import { MareaError } from './errors.js'

export type Listener<T> = (value: T) => void
export type ErrorListener = (error: MareaError) => void

interface Subscription<T> {
  listener: Listener<T>
  onError: ErrorListener | undefined
  /** The text of what this listener was told last. */
  told: string | null
}

export class Watch<T> {
  readonly #read: () => Promise<T>
  readonly #subscriptions = new Set<Subscription<T>>()
  #reading = false
  #stale = false

  constructor(read: () => Promise<T>) {
    this.#read = read
  }

  /** Tells `listener` the current value as soon as it is read, and every later one. Returns how to stop. */
  subscribe(listener: Listener<T>, onError?: ErrorListener): () => void {
    checkFunction('listener', listener)
    if (onError) checkFunction('onError', onError)
    const subscription: Subscription<T> = { listener, onError, told: null }
    this.#subscriptions.add(subscription)
    this.refresh()
    return () => void this.#subscriptions.delete(subscription)
  }

  /** Says that the value may have changed. */
  refresh(): void {
    this.#stale = true
    if (!this.#reading) void this.#follow()
  }

  async #follow(): Promise<void> {
    this.#reading = true
    while (this.#stale && this.#subscriptions.size > 0) {
      this.#stale = false
      try {
        this.#tell(await this.#read())
      } catch (error) {
        this.#tellError(error)
      }
    }
    this.#reading = false
  }

  #tell(value: T): void {
    const text = JSON.stringify(value)
    for (const subscription of [...this.#subscriptions]) {
      if (subscription.told === text || !this.#subscriptions.has(subscription)) continue
      subscription.told = text
      guarded(() => subscription.listener(value))
    }
  }

  #tellError(error: unknown): void {
    // After close() there is nothing to follow and nobody to alarm.
    if (!(error instanceof MareaError) || error.code === 'closed') return
    for (const subscription of [...this.#subscriptions]) {
      // The same value is news to somebody who was told that it could not be read.
      subscription.told = null
      guarded(() => subscription.onError?.(error))
    }
  }
}

/** A listener that throws is reported as an uncaught error, and does not keep the others from being told. */
export function guarded(call: () => void): void {
  try {
    call()
  } catch (error) {
    reportError(error)
  }
}
