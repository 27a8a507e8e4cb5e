// A device of a test: its clock, its network, what its tabs share; and for each tab, all that the engine's page takes from a browser.
//
// Nothing of the test's own environment is touched, and nothing is taken from it but the language and Node's modules: it is the same
// under jsdom, happy-dom, and without a DOM.

import { webcrypto } from 'node:crypto'
import { TextDecoder, TextEncoder } from 'node:util'
import { MareaError } from '../errors.js'
import { channelClass, Controller, copyOf, KeptItems, Locks, messageChannelClass, Target } from './browser.js'
import { TestClock } from './clock.js'
import { TestNetwork } from './network.js'
import { Turns } from './turns.js'

/** What the engine's page finds in the place of a browser's globals. `build.mjs` names the same ones. */
export type Surroundings = Record<string, unknown>

/** The page's window and document. */
export interface TestPage {
  readonly surroundings: Surroundings
  readonly window: Target
  readonly document: Target & { visibilityState: 'visible' | 'hidden' }
}

export class Device {
  readonly #turns = new Turns()
  readonly clock: TestClock
  readonly network: TestNetwork
  readonly #shared: Surroundings
  readonly #pages = new Set<TestPage>()

  constructor(now: Date | string | number | undefined, realServer: boolean) {
    this.clock = new TestClock(this.#turns, now)
    const changed = (online: boolean): void => {
      for (const { window } of this.#pages) window.say(online ? 'online' : 'offline')
    }
    this.network = new TestNetwork(this.#turns, realServer, changed, () => this.clock.now)
    const { clock, network } = this
    const Headers = class extends Map<string, string> {}
    this.#shared = {
      AbortController: Controller,
      BroadcastChannel: channelClass(this.#turns),
      Date: clock.dateClass(),
      Headers,
      MareaError,
      MessageChannel: messageChannelClass(this.#turns),
      TextDecoder,
      TextEncoder,
      // As a class: what a constructor returns is what `new` gives.
      WebSocket: function (url: string) {
        return network.openSocket(url)
      },
      clearInterval: (id: unknown) => clock.stop(id),
      clearTimeout: (id: unknown) => clock.stop(id),
      crypto: webcrypto,
      fetch: network.fetch,
      isSecureContext: true,
      localStorage: new KeptItems(),
      navigator: {
        get onLine() {
          return network.isOnline
        },
        locks: new Locks(),
        storage: {},
        userAgent: 'marea-testing',
      },
      performance: { now: () => clock.passedMs },
      queueMicrotask: (call: () => void) => void Promise.resolve().then(call),
      reportError: (error: unknown) =>
        this.#turns.later(() => {
          throw error
        }),
      setInterval: (call: () => void, ms: number) => clock.start(call, ms, ms),
      setTimeout: (call: () => void, ms: number) => clock.start(call, ms, null),
      structuredClone: copyOf,
    }
  }

  /** A new page, for a tab. */
  newPage(module: WebAssembly.Module): TestPage {
    class Window extends Target {}
    const window = new Window()
    const document = Object.assign(new Target(), { visibilityState: 'visible' as const })
    const surroundings: Surroundings = { ...this.#shared, MAREA_MODULE: module, Window, document, window }
    // What the module finds as its global object.
    Object.assign(window, this.#shared, { indexedDB: undefined })
    for (const name of ['global', 'globalThis', 'self']) surroundings[name] = window
    const page = { surroundings, window, document }
    this.#pages.add(page)
    return page
  }

  endPage(page: TestPage): void {
    this.#pages.delete(page)
  }
}
