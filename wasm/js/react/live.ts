// One value of an open mirror, followed for as long as a component shows it, once for all components that do.

import type { MareaError } from '../errors.js'
import type { Marea } from '../marea.js'
import type { ErrorListener, Listener } from '../watch.js'

/**
 * A value as a component sees it. `data` is null until it has been read once; `error` says why the last reading failed,
 * while `data` stays what was read before.
 */
export interface Live<T> {
  readonly data: T | null
  readonly error: MareaError | null
}

/** How a value is followed: one of the `watch*` of the mirror. */
export type Follow<T> = (marea: Marea, listener: Listener<T>, onError: ErrorListener) => () => void

export const NOT_READ: Live<never> = { data: null, error: null }

/** What `useSyncExternalStore` asks for. */
export interface Store<T> {
  readonly subscribe: (listener: () => void) => () => void
  readonly getSnapshot: () => Live<T>
}

/** While no mirror is open. */
export const EMPTY: Store<never> = { subscribe: () => () => undefined, getSnapshot: () => NOT_READ }

const stores = new WeakMap<Marea, Map<string, Store<unknown>>>()

/** The store of the value that `key` names, shared by all that show it. */
export function storeOf<T>(marea: Marea, key: string, follow: Follow<T>): Store<T> {
  let ofMarea = stores.get(marea)
  if (!ofMarea) stores.set(marea, (ofMarea = new Map()))
  const known = ofMarea.get(key)
  if (known) return known as Store<T>
  const store = new LiveStore<T>((listener, onError) => follow(marea, listener, onError))
  ofMarea.set(key, store)
  return store
}

class LiveStore<T> implements Store<T> {
  readonly #follow: (listener: Listener<T>, onError: ErrorListener) => () => void
  readonly #listeners = new Set<() => void>()
  #snapshot: Live<T> = NOT_READ
  #stop: (() => void) | null = null

  constructor(follow: (listener: Listener<T>, onError: ErrorListener) => () => void) {
    this.#follow = follow
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    this.#stop ??= this.#follow(
      (data) => this.#show({ data, error: null }),
      (error) => this.#show({ data: this.#snapshot.data, error }),
    )
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size > 0) return
      this.#stop?.()
      this.#stop = null
    }
  }

  getSnapshot = (): Live<T> => this.#snapshot

  #show(snapshot: Live<T>): void {
    this.#snapshot = snapshot
    for (const listener of [...this.#listeners]) listener()
  }
}
