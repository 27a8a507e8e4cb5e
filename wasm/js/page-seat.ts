// A seat in the page itself, where the browser gives no file system: the engine runs here, in memory, and its image is
// kept in `localStorage`. Loaded only then.

import { CandidateSeat, moduleError } from './candidate.js'
import { waitForLease } from './lease.js'
import { waitForLock } from './lock.js'
import init from './marea_wasm.js'
import type { FromSeat } from './protocol.js'
import type { Seat, SeatEvents } from './seat.js'

let moduleReady: Promise<unknown> | null = null

/** Once for a page, however many mirrors it opens. */
async function instantiate(module: WebAssembly.Module): Promise<void> {
  moduleReady ??= init({ module_or_path: module })
  try {
    await moduleReady
  } catch {
    moduleReady = null
    throw moduleError()
  }
}

export function takePageSeat(events: SeatEvents): Seat {
  let ended = false
  let moduleCame!: (module: WebAssembly.Module) => void
  const module = new Promise<WebAssembly.Module>((resolve) => (moduleCame = resolve))
  // As from a worker: a copy, and never before the one who asked has gone on.
  const toOwnPage = (message: FromSeat): void => {
    const copy = structuredClone(message)
    queueMicrotask(() => !ended && events.receive(copy))
  }
  toOwnPage({ kind: 'started' })
  const seat = new CandidateSeat({
    prepare: async () => instantiate(await module),
    // Web Locks are for secure contexts only.
    elect: navigator.locks ? waitForLock : waitForLease,
    holdsFiles: false,
    toOwnPage,
  })
  return {
    // A module is never changed, and not every browser copies one within a page.
    post: (message) => (message.kind === 'module' ? moduleCame(message.module) : seat.receive(structuredClone(message))),
    end() {
      ended = true
      seat.leave()
    },
  }
}
