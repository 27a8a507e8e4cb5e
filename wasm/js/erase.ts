// Takes a user's mirror off this device, with all that was not sent and what opens the vault here. Called when no tab of
// this user has it open any more.

import { forgetMirror } from './memory.js'
import { waitForTurn } from './lock.js'
import { meetingName } from './protocol.js'
import { forgetKey } from './remember.js'

// The handles of workers that were just ended take a moment to go.
const HANDLES_WAIT_MS = 5_000
const HANDLES_RETRY_MS = 20

export async function eraseMirror(userId: string): Promise<void> {
  const meeting = meetingName(userId)
  const erase = async (): Promise<void> => {
    await eraseFiles(userId.toLowerCase())
    eraseKeys(`${meeting}:`)
    forgetMirror(userId)
    await forgetKey(userId)
  }
  // A tab that is opened meanwhile waits for the lock, and begins anew.
  const release = await waitForTurn(meeting, new AbortController().signal)
  try {
    await erase()
  } finally {
    release()
  }
}

/** The mirror, and those that were set aside. */
async function eraseFiles(user: string): Promise<void> {
  let root: FileSystemDirectoryHandle
  try {
    root = await (await navigator.storage.getDirectory()).getDirectoryHandle('.marea')
  } catch {
    // There is no file system here, or no mirror on it.
    return
  }
  const names: string[] = []
  for await (const name of root.keys()) if (name === user || name.startsWith(`${user}.`)) names.push(name)
  for (const name of names) await removeFolder(root, name)
}

async function removeFolder(root: FileSystemDirectoryHandle, name: string): Promise<void> {
  const deadline = performance.now() + HANDLES_WAIT_MS
  for (;;) {
    try {
      return await root.removeEntry(name, { recursive: true })
    } catch (error) {
      const held = error instanceof DOMException && error.name === 'NoModificationAllowedError'
      if (!held || performance.now() >= deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, HANDLES_RETRY_MS))
    }
  }
}

function eraseKeys(prefix: string): void {
  try {
    for (const key of Object.keys(localStorage)) if (key.startsWith(prefix)) localStorage.removeItem(key)
  } catch {
    // Blocked: nothing was kept there.
  }
}
