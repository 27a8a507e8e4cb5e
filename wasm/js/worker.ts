// The dedicated worker: where the mirror is opened on the origin private file system, when it is this tab's turn.

import { CandidateSeat, moduleError } from './candidate.js'
import { waitForLock } from './lock.js'
import init from './marea_wasm.js'
import { MareaError } from './errors.js'
import { gatherWrites } from './gather.js'
import type { FileHandle } from './gather.js'
import type { FromSeat, ToSeat } from './protocol.js'

interface WorkerScope {
  FileSystemSyncAccessHandle?: { prototype: FileHandle }
  postMessage(message: FromSeat): void
  addEventListener(type: 'message', listener: (event: MessageEvent<ToSeat>) => void): void
}
const scope = self as unknown as WorkerScope

// Fetched and compiled while the page's first message is under way, and whoever leads: a tab that has to take over must
// not have to ask a network first. The address is written out, because that is the form that bundlers look for.
const moduleReady = init({ module_or_path: new URL('./marea_wasm_bg.wasm', import.meta.url) }).then(
  () => null,
  () => moduleError(),
)

// Nobody else's code runs in this worker.
if (scope.FileSystemSyncAccessHandle) gatherWrites(scope.FileSystemSyncAccessHandle.prototype)

/** Some private windows have the function and refuse the call. */
async function checkStorage(): Promise<void> {
  try {
    await navigator.storage.getDirectory()
  } catch {
    throw new MareaError('storage_unavailable', 'This browser gives no file system here.', false)
  }
}

const seat = new CandidateSeat({
  async prepare() {
    await checkStorage()
    const failure = await moduleReady
    if (failure) throw failure
  },
  elect: waitForLock,
  holdsFiles: true,
  toOwnPage: (message) => scope.postMessage(message),
})
scope.addEventListener('message', ({ data }) => seat.receive(data))
