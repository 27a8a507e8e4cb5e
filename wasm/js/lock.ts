// Whose turn it is to lead, by a Web Lock: the browser frees it when its holder's page is closed, reloaded or crashes,
// and gives it to the one that has waited longest. Nothing is left to clean up. Where the browser has none, or forbids them with all
// storage, tabs ask each other.

import { waitForElection } from './broadcast-election.js'

/** Waits for the lock, as long as it takes. It is held until the returned function is called, or its holder ends. */
export function waitForLock(name: string, signal: AbortSignal): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const hold = (): Promise<void> => new Promise((release) => resolve(release))
    navigator.locks.request(name, { signal }, hold).catch(reject)
  })
}

/** The same where there may be no locks: insecure contexts have none, and where a site may store nothing they are refused. */
export async function waitForTurn(name: string, signal: AbortSignal): Promise<() => void> {
  if (!navigator.locks) return waitForElection(name, signal)
  try {
    return await waitForLock(name, signal)
  } catch (error) {
    if (signal.aborted || !(error instanceof DOMException && error.name === 'SecurityError')) throw error
    return waitForElection(name, signal)
  }
}
