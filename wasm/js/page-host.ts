// A host in the page itself, where the browser gives no file system: the engine runs here, in memory, and its image is
// kept in `localStorage`. Loaded only then.

import { LeaderCandidate, moduleError } from './candidate.js'
import { imageArrived } from './image.js'
import { waitForTurn } from './lock.js'
import init, { __wbg_reset_state as startAgain, onEngineStopped } from './marea_wasm.js'
import { Refusals } from './policy.js'
import type { FromHost } from './protocol.js'
import type { WorkerHost, HostEvents } from './worker-host.js'

let moduleReady: Promise<unknown> | null = null
/** Whether the engine has stopped: its memory is not to be trusted, and it is started again, empty, before it is used. */
let stopped = false
/** All candidates of this page run in one module. */
const candidates = new Set<LeaderCandidate>()

function noteStopped(): void {
  if (stopped) return
  stopped = true
  for (const candidate of candidates) candidate.engineStopped()
}

/** Once for a page, however many mirrors it opens. */
async function instantiate(module: WebAssembly.Module): Promise<void> {
  onEngineStopped(noteStopped)
  moduleReady ??= init({ module_or_path: module })
  try {
    await moduleReady
  } catch {
    moduleReady = null
    throw moduleError()
  }
  if (!stopped) return
  stopped = false
  startAgain()
}

export function startPageHost(events: HostEvents): WorkerHost {
  const ended = new AbortController()
  let moduleCame!: (module: WebAssembly.Module) => void
  const module = new Promise<WebAssembly.Module>((resolve) => (moduleCame = resolve))
  // As from a worker: a copy, and never before the one who asked has gone on.
  const toOwnPage = (message: FromHost): void => {
    const copy = structuredClone(message)
    queueMicrotask(() => !ended.signal.aborted && events.receive(copy))
  }
  toOwnPage({ kind: 'started' })
  const candidate = new LeaderCandidate({
    prepare: async () => instantiate(await module),
    stopped: noteStopped,
    refusals: new Refusals(document, ended.signal, () => candidate.refusalHeard()),
    elect: waitForTurn,
    holdsFiles: false,
    arrived: async (candidacy) => (candidacy.storage === 'local-storage' ? imageArrived(candidacy) : undefined),
    toOwnPage,
  })
  candidates.add(candidate)
  return {
    // A module is never changed, and not every browser copies one within a page.
    post: (message) => (message.kind === 'module' ? moduleCame(message.module) : candidate.receive(structuredClone(message))),
    end() {
      ended.abort()
      candidates.delete(candidate)
      candidate.leave()
    },
  }
}
