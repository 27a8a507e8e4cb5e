// The dedicated worker: where the mirror is opened on the origin private file system, when it is this tab's turn.
//
// The same file has the seat in a page, for browsers that give no file system: one file more or less is a round trip.

import { CandidateSeat, moduleError } from './candidate.js'
import { waitForLock } from './lock.js'
import init, { onEngineStopped } from './marea_wasm.js'
import { MareaError } from './errors.js'
import { gatherWrites } from './gather.js'
import type { FileHandle } from './gather.js'
import { Refusals } from './policy.js'
import type { FromSeat, ToSeat } from './protocol.js'

declare const WorkerGlobalScope: unknown

interface WorkerScope {
  FileSystemSyncAccessHandle?: { prototype: FileHandle }
  postMessage(message: FromSeat): void
  addEventListener(type: 'message', listener: (event: MessageEvent<ToSeat>) => void): void
}

export { takePageSeat } from './page-seat.js'

/** Some private windows have the function and refuse the call. */
async function checkStorage(): Promise<void> {
  try {
    await navigator.storage.getDirectory()
  } catch {
    throw new MareaError('storage_unavailable', 'This browser gives no file system here.', false)
  }
}

function serve(scope: WorkerScope): void {
  scope.postMessage({ kind: 'started' })
  // Made ready as soon as it comes, whoever leads: a tab that has to take over must not have to wait for a network first.
  let moduleCame!: (module: WebAssembly.Module) => void
  const moduleReady = new Promise<WebAssembly.Module>((resolve) => (moduleCame = resolve))
    .then((module) => init({ module_or_path: module }))
    .then(
      () => {
        onEngineStopped(() => seat.engineStopped())
        return null
      },
      () => moduleError(),
    )

  // Nobody else's code runs in this worker.
  if (scope.FileSystemSyncAccessHandle) gatherWrites(scope.FileSystemSyncAccessHandle.prototype)

  const seat = new CandidateSeat({
    async prepare() {
      await checkStorage()
      const failure = await moduleReady
      if (failure) throw failure
    },
    refusals: new Refusals(self, undefined, () => seat.refusalHeard()),
    elect: waitForLock,
    holdsFiles: true,
    toOwnPage: (message) => scope.postMessage(message),
  })
  scope.addEventListener('message', ({ data }) => {
    if (data.kind === 'module') moduleCame(data.module)
    else seat.receive(data)
  })
}

if (typeof document === 'undefined' && typeof WorkerGlobalScope !== 'undefined') serve(self as unknown as WorkerScope)
