// Whose turn it is to lead, by a Web Lock: the browser frees it when its holder's page is closed, reloaded or crashes,
// and gives it to the one that has waited longest. Nothing is left to clean up.

/** Waits for the lock, as long as it takes. It is held until the returned function is called, or its holder ends. */
export function waitForLock(name: string, signal: AbortSignal): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const hold = (): Promise<void> => new Promise((release) => resolve(release))
    navigator.locks.request(name, { signal }, hold).catch(reject)
  })
}
