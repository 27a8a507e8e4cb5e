// A seat in the page itself, where the browser gives no file system: the engine runs here, in memory, and its image is
// kept in `localStorage`. Loaded only then.

import { CandidateSeat, moduleError } from './candidate.js'
import { waitForLease } from './lease.js'
import { waitForLock } from './lock.js'
import init from './marea_wasm.js'
import type { Seat, SeatEvents } from './seat.js'

let moduleReady: Promise<unknown> | null = null

/** Once for a page, however many mirrors it opens. */
async function prepare(): Promise<void> {
  moduleReady ??= init({ module_or_path: new URL('./marea_wasm_bg.wasm', import.meta.url) })
  try {
    await moduleReady
  } catch {
    moduleReady = null
    throw moduleError()
  }
}

export function takePageSeat(events: SeatEvents): Seat {
  let ended = false
  const seat = new CandidateSeat({
    prepare,
    // Web Locks are for secure contexts only.
    elect: navigator.locks ? waitForLock : waitForLease,
    holdsFiles: false,
    // As from a worker: a copy, and never before the one who asked has gone on.
    toOwnPage(message) {
      const copy = structuredClone(message)
      queueMicrotask(() => !ended && events.receive(copy))
    },
  })
  return {
    post: (message) => seat.receive(structuredClone(message)),
    end() {
      ended = true
      seat.leave()
    },
  }
}
