// `@marea/client/testing`: the real engine in the process of a test, without a worker and without a browser, with a clock and a network
// that the test decides about.
//
// Nothing here stands for the engine: the code is the package's own, built once more as a function of its surroundings.

import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { OPENING, SIGNED_OUT } from '../connection.js'
import type { MareaSource, MareaState } from '../connection.js'
import type { Marea } from '../marea.js'
import type { OpenOptions } from '../open.js'
import type { RegisteredSchema } from '../schema.js'
import type { TestBackend, TestLearner } from './backend.js'
import type { TestClock } from './clock.js'
import { Device } from './device.js'
import type { TestPage } from './device.js'
import type { TestNetwork } from './network.js'
import { makePage } from './page.js'

export { startBackend } from './backend.js'
export type { BackendOptions, TestBackend, TestLearner } from './backend.js'
export type { TestClock } from './clock.js'
export type { ServerAnswer, ServerRequest, TestNetwork, TestServer } from './network.js'
export { refusingServer } from './refusing.js'

export interface TestOptions extends Partial<Omit<OpenOptions, 'storage' | 'workerUrl' | 'trustedTypesPolicy' | 'persist'>> {
  /** The device's time at the start; the machine's unless it is given. It runs on from there. */
  now?: Date | string | number
  /** A real server, and the network is on. Without it there is none, and the device is offline. */
  backend?: TestBackend
  /** Whose mirror it is; with a backend, an account of it: a new one is made unless it is given. */
  learner?: TestLearner
}

/** A device with one user's mirror open. */
export interface TestMarea<S = RegisteredSchema> {
  /** The mirror, as `open` gives it. Another one after `reload`. */
  readonly marea: Marea<S>
  /** For `<MareaProvider source={...}>`, and whatever else follows an open mirror. */
  readonly source: MareaSource
  readonly clock: TestClock
  readonly network: TestNetwork
  readonly userId: string
  /** Opens the mirror in another tab of the same device. */
  openTab(): Promise<Marea<S>>
  /** Closes all tabs and opens the mirror again, as a page that is reloaded: what was acknowledged is there. */
  reload(): Promise<Marea<S>>
  /** Closes all tabs. The device is gone. */
  close(): Promise<void>
}

let compiled: WebAssembly.Module | null = null

/** The engine's module, from the package on the disk. Compiled once. */
function engineModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(readFileSync(join(dirname(fileURLToPath(import.meta.url)), '..', 'marea_wasm_bg.wasm')))
  return compiled
}

/**
 * Opens a mirror on a new device: real, empty, in memory. Each call is a device of its own, with its own clock and network; two of them
 * with one learner and one backend are two devices of that learner.
 */
export async function openTestMarea<S = RegisteredSchema>(options: TestOptions = {}): Promise<TestMarea<S>> {
  const { now, backend, learner = await backend?.signUp(), ...given } = options
  const userId = given.userId ?? learner?.userId ?? randomUUID()
  const device = new Device(now, backend !== undefined || given.url !== undefined)
  const all: OpenOptions = {
    url: backend?.url ?? 'http://localhost:1',
    publishableKey: backend?.publishableKey ?? 'sb_publishable_test',
    userId,
    getAccessToken: () => learner?.token ?? tokenOf(userId),
    ...given,
    storage: 'local-storage',
  }
  const tested = new TestDevice<S>(device, all)
  await tested.reload()
  return tested
}

class TestDevice<S> implements TestMarea<S> {
  readonly #device: Device
  readonly #options: OpenOptions
  readonly #tabs = new Map<Marea<S>, TestPage>()
  readonly #listeners = new Set<() => void>()
  #marea: Marea<S> | null = null
  #state: MareaState = OPENING
  readonly source: MareaSource

  constructor(device: Device, options: OpenOptions) {
    this.#device = device
    this.#options = options
    const stateNow = (): MareaState => this.#state
    this.source = {
      get state() {
        return stateNow()
      },
      subscribe: (listener) => {
        this.#listeners.add(listener)
        return () => void this.#listeners.delete(listener)
      },
      retry: () => undefined,
    }
  }

  get marea(): Marea<S> {
    return this.#marea as Marea<S>
  }

  get clock(): TestClock {
    return this.#device.clock
  }

  get network(): TestNetwork {
    return this.#device.network
  }

  get userId(): string {
    return this.#options.userId
  }


  async openTab(): Promise<Marea<S>> {
    const page = this.#device.newPage(engineModule())
    const marea = await makePage(page.surroundings).open<S>(this.#options)
    this.#tabs.set(marea, page)
    return marea
  }

  async reload(): Promise<Marea<S>> {
    await this.#leave()
    this.#show(OPENING)
    const marea = (this.#marea = await this.openTab())
    this.#show({ state: 'open', marea: marea as unknown as Marea, error: null })
    return marea
  }

  async close(): Promise<void> {
    await this.#leave()
    this.#show(SIGNED_OUT)
  }

  async #leave(): Promise<void> {
    for (const [marea, page] of this.#tabs) {
      this.#device.endPage(page)
      await marea.close()
    }
    this.#tabs.clear()
  }

  #show(state: MareaState): void {
    this.#state = state
    for (const listener of [...this.#listeners]) listener()
  }
}

/** A token that no server takes but one of the test's own. */
function tokenOf(userId: string): string {
  const parts = [{ alg: 'none' }, { sub: userId, role: 'authenticated', exp: 4_102_444_800 }, {}]
  return parts.map((part) => btoa(JSON.stringify(part)).replaceAll('=', '')).join('.')
}
