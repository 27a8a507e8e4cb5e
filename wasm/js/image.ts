// Whether a tab that comes to lead sees all that the last leader has written.
//
// Each page has a copy of `localStorage` of its own, and what another page writes arrives there some time later: after the lock, or
// after the word that a call was done. So all that a leader says to others carries the revision that its writes have come to,
// and the next leader opens the mirror only when it sees that one. Where two come to lead at once all the same (there are no locks, and
// the first was too busy to answer), a page asks the second again for what it has not begun with (calls.ts).

import { makeName } from './ids.js'
import { MareaEngine } from './marea_wasm.js'
import type { Candidacy } from './protocol.js'

// Writes of a page that is gone are on their way in the browser. They take milliseconds; a machine that is busy with other things,
// seconds. Past this they are lost, and waiting would be for ever.
const ARRIVAL_LIMIT_MS = 10_000
const LOOK_AGAIN_MS = 10
// Channels deliver in order, at once.
const ECHO_LIMIT_MS = 1_000

/** Waits until this page sees the image of the newest revision that it was told of; says which it sees. */
export async function imageArrived(candidacy: Candidacy): Promise<number> {
  await heardAll()
  const deadline = performance.now() + ARRIVAL_LIMIT_MS
  while (MareaEngine.imageRevision(candidacy.userId) < candidacy.revision && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS))
  }
  return MareaEngine.imageRevision(candidacy.userId)
}

/** Resolves when this page has heard what others said before now: its own words go the same way, behind theirs. */
function heardAll(): Promise<void> {
  const name = `marea:echo:${makeName()}`
  const [said, heard] = [new BroadcastChannel(name), new BroadcastChannel(name)]
  return new Promise<void>((resolve) => {
    heard.onmessage = () => resolve()
    setTimeout(resolve, ECHO_LIMIT_MS)
    said.postMessage(null)
  }).finally(() => {
    said.close()
    heard.close()
  })
}
