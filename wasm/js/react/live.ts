// One value of an open mirror, followed for as long as a component shows it, once for all components that do.

import { MareaError } from '../errors.js'
import { NOT_READ } from '../live.js'
import type { Follow, Live } from '../live.js'
import type { Marea } from '../marea.js'
import type { ErrorListener, Listener } from '../watch.js'

/** What `useSyncExternalStore` asks for. */
export interface Store<T> {
  readonly subscribe: (listener: () => void) => () => void
  readonly getSnapshot: () => Live<T>
}

/** While no mirror is open. */
export const EMPTY: Store<never> = { subscribe: () => () => undefined, getSnapshot: () => NOT_READ }

const stores = new WeakMap<Marea, Map<string, LiveStore<unknown>>>()

// A search field makes a store with every letter. Those that nobody follows any more are kept for a while: whoever comes back to one
// sees at once what it last had.
const MAX_STORES = 200

/** The store of the value that `key` names, shared by all that show it. */
export function storeOf<T>(marea: Marea, key: string, follow: Follow<T>): Store<T> {
  const ofMarea = stores.get(marea) ?? new Map<string, LiveStore<unknown>>()
  stores.set(marea, ofMarea)
  const known = ofMarea.get(key)
  if (known) return known as LiveStore<T>
  const store = new LiveStore<T>((listener, onError) => {
    // It may have made room for others since it was made.
    if (!ofMarea.has(key)) ofMarea.set(key, store as LiveStore<unknown>)
    return follow(marea, listener, onError)
  })
  ofMarea.set(key, store as LiveStore<unknown>)
  for (const [oldest, { isIdle }] of ofMarea) {
    if (ofMarea.size <= MAX_STORES) break
    if (isIdle && oldest !== key) ofMarea.delete(oldest)
  }
  return store
}

export { NOT_READ }
export type { Follow, Live }

class LiveStore<T> implements Store<T> {
  readonly #follow: (listener: Listener<T>, onError: ErrorListener) => () => void
  readonly #listeners = new Set<() => void>()
  #snapshot: Live<T> = NOT_READ
  #stop: (() => void) | null = null

  constructor(follow: (listener: Listener<T>, onError: ErrorListener) => () => void) {
    this.#follow = follow
  }

  get isIdle(): boolean {
    return this.#stop === null
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    this.#stop ??= this.#begin()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size > 0) return
      this.#stop?.()
      this.#stop = null
    }
  }

  getSnapshot = (): Live<T> => this.#snapshot

  #begin(): () => void {
    const failed = (error: MareaError): void => this.#show({ data: this.#snapshot.data, error, loading: false })
    try {
      return this.#follow((data) => this.#show({ data, error: null, loading: false }), failed)
    } catch (error) {
      // A wrong argument is shown as any other error: no component fails for it.
      if (!(error instanceof MareaError)) throw error
      failed(error)
      return () => undefined
    }
  }

  #show(snapshot: Live<T>): void {
    this.#snapshot = snapshot
    for (const listener of [...this.#listeners]) listener()
  }
}
