// The parts of a browser that tabs meet through: channels, locks, storage. One device has them once, for all its tabs.

import type { Turns } from './turns.js'

type Call = (event: unknown) => void

/** An `EventTarget` as far as it is used; a test's environment may have one that knows no signal but its own. */
export class Target {
  readonly #listeners = new Map<string, Set<Call>>()

  addEventListener(type: string, listener: Call, options?: { signal?: Target & { aborted?: boolean } }): void {
    if (options?.signal?.aborted) return
    let listeners = this.#listeners.get(type)
    if (!listeners) this.#listeners.set(type, (listeners = new Set()))
    listeners.add(listener)
    options?.signal?.addEventListener('abort', () => this.removeEventListener(type, listener))
  }

  removeEventListener(type: string, listener: Call): void {
    this.#listeners.get(type)?.delete(listener)
  }

  /** Tells everybody who listens for it. */
  say(type: string, event: object = {}): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) listener({ type, ...event })
  }
}

export class Signal extends Target {
  aborted = false
}

export class Controller {
  readonly signal = new Signal()

  abort(): void {
    if (this.signal.aborted) return
    this.signal.aborted = true
    this.signal.say('abort')
  }
}

/** As `structuredClone`, which not every environment has: messages are plain, but for bytes. */
export function copyOf<T>(value: T): T {
  if (typeof value === 'function' || typeof value === 'symbol') throw new TypeError('This cannot be sent to another tab.')
  if (typeof value !== 'object' || value === null || value instanceof WebAssembly.Module) return value
  if (ArrayBuffer.isView(value)) return new Uint8Array(value as unknown as Uint8Array).slice() as T
  // Bytes that never change.
  if (['[object Blob]', '[object File]'].includes(Object.prototype.toString.call(value))) return value
  if (Array.isArray(value)) return value.map(copyOf) as T
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, copyOf(member as unknown)])) as T
}

/** The class of broadcast channels of one device. */
export function channelClass(turns: Turns): typeof BroadcastChannel {
  const open = new Map<string, Set<Channel>>()
  class Channel extends Target {
    onmessage: Call | null = null
    readonly #peers: Set<Channel>

    constructor(readonly name: string) {
      super()
      const peers = open.get(name) ?? new Set()
      open.set(name, peers.add(this))
      this.#peers = peers
    }

    postMessage(message: unknown): void {
      for (const peer of this.#peers) {
        if (peer === this) continue
        const data = copyOf(message)
        turns.later(() => {
          if (!this.#peers.has(peer)) return
          peer.onmessage?.({ data })
          peer.say('message', { data })
        })
      }
    }

    close(): void {
      this.#peers.delete(this)
    }
  }
  return Channel as unknown as typeof BroadcastChannel
}

/** The class of message channels: what is posted at one end arrives at the other, in a turn of its own. */
export function messageChannelClass(turns: Turns): typeof MessageChannel {
  return class {
    readonly port1 = { onmessage: null as Call | null, closed: false, close: () => void (this.port1.closed = true) }
    readonly port2 = {
      postMessage: (message: unknown) => turns.later(() => this.port1.closed || this.port1.onmessage?.({ data: copyOf(message) })),
    }
  } as unknown as typeof MessageChannel
}

/** Locks that are had by one at a time, first come, first served. */
export class Locks {
  readonly #last = new Map<string, Promise<void>>()

  request(name: string, { signal }: { signal?: Signal }, hold: () => Promise<void>): Promise<void> {
    const before = this.#last.get(name) ?? Promise.resolve()
    const held = before.then(() => (signal?.aborted ? undefined : hold()))
    this.#last.set(name, held.catch(() => undefined))
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => reject(new DOMException('No longer wanted.', 'AbortError')))
    })
    return Promise.race([held, aborted])
  }
}

/** As `localStorage`: what is kept are its own members. */
export class KeptItems {
  [key: string]: unknown

  static {
    const methods = {
      getItem(this: KeptItems, key: string): unknown {
        return Object.hasOwn(this, key) ? this[key] : null
      },
      setItem(this: KeptItems, key: string, value: string): void {
        this[key] = String(value)
      },
      removeItem(this: KeptItems, key: string): void {
        delete this[key]
      },
      key(this: KeptItems, index: number): string | null {
        return Object.keys(this)[index] ?? null
      },
    }
    Object.defineProperties(this.prototype, Object.getOwnPropertyDescriptors(methods))
    Object.defineProperty(this.prototype, 'length', {
      get(this: KeptItems) {
        return Object.keys(this).length
      },
    })
  }
}
