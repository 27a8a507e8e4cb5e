// What the browser says about the place in which the mirror is kept: whether it may be evicted, and how full it is.

import type { MareaEngine } from './marea_wasm.js'

/** Asks, and has the engine show it in the status. What the browser does not tell stays open. */
export async function noteStorage(engine: MareaEngine, changed: () => void): Promise<void> {
  const manager = navigator.storage as StorageManager | undefined
  const [persisted, estimate] = await Promise.all([
    manager?.persisted?.().catch(() => undefined),
    manager?.estimate?.().catch(() => undefined),
  ])
  try {
    engine.noteStorage(persisted, estimate?.usage, estimate?.quota)
    changed()
  } catch {
    // Closed meanwhile.
  }
}
