// The dedicated worker: where the mirror is opened on the origin private file system, when it is this tab's turn.
//
// The same file has the host in a page, for browsers that give no file system: one file more or less is a round trip.

import { LeaderCandidate, moduleError } from './candidate.js'
import { waitForLock } from './lock.js'
import init, { onEngineStopped } from './marea_wasm.js'
import { MareaError } from './errors.js'
import { coalesceWrites } from './coalesced-writes.js'
import type { FileHandle } from './coalesced-writes.js'
import { Refusals } from './policy.js'
import type { FromHost, ToHost } from './protocol.js'

declare const WorkerGlobalScope: unknown

interface WorkerScope {
  FileSystemFileHandle?: { prototype: { createSyncAccessHandle?: unknown } }
  FileSystemSyncAccessHandle?: { prototype: FileHandle }
  postMessage(message: FromHost): void
  addEventListener(type: 'message', listener: (event: MessageEvent<ToHost>) => void): void
}

export { startPageHost } from './page-host.js'

/** Some private windows have the function and refuse the call; some browsers have files and no handles. */
async function checkStorage({ FileSystemFileHandle, FileSystemSyncAccessHandle }: WorkerScope): Promise<void> {
  let refused = 'no synchronous handles'
  try {
    await navigator.storage.getDirectory()
    if (FileSystemSyncAccessHandle && FileSystemFileHandle?.prototype.createSyncAccessHandle) return
  } catch (error) {
    if (error instanceof DOMException) refused = error.name
  }
  const message = `This browser's file system (OPFS) is not to be had here (${refused}).`
  throw new MareaError('storage_unavailable', message, true)
}

function serve(scope: WorkerScope): void {
  scope.postMessage({ kind: 'started' })
  // Made ready as soon as it comes, whoever leads: a tab that has to take over must not have to wait for a network first.
  let moduleCame!: (module: WebAssembly.Module) => void
  const moduleReady = new Promise<WebAssembly.Module>((resolve) => (moduleCame = resolve))
    .then((module) => init({ module_or_path: module }))
    .then(
      () => {
        onEngineStopped(() => candidate.engineStopped())
        return null
      },
      () => moduleError(),
    )

  // Nobody else's code runs in this worker.
  if (scope.FileSystemSyncAccessHandle) coalesceWrites(scope.FileSystemSyncAccessHandle.prototype)

  const candidate = new LeaderCandidate({
    async prepare() {
      await checkStorage(scope)
      const failure = await moduleReady
      if (failure) throw failure
    },
    refusals: new Refusals(self, undefined, () => candidate.refusalHeard()),
    elect: waitForLock,
    holdsFiles: true,
    toOwnPage: (message) => scope.postMessage(message),
  })
  scope.addEventListener('message', ({ data }) => {
    if (data.kind === 'module') moduleCame(data.module)
    else candidate.receive(data)
  })
}

if (typeof document === 'undefined' && typeof WorkerGlobalScope !== 'undefined') serve(self as unknown as WorkerScope)
