// One worker at a time for a user's mirror, by a Web Lock.
//
// The browser frees the lock when its holder's page is closed, reloaded or crashes, so there is nothing to clean up.

import { MareaError } from './errors.js'

/**
 * Takes the lock, waiting at most `waitMs`. A reload needs that: the old page's worker may not be gone yet.
 * The lock is held until the worker ends or the returned function is called.
 */
export function takeLock(name: string, waitMs: number): Promise<() => void> {
  const locks = navigator.locks as LockManager | undefined
  if (!locks) return Promise.reject(unavailable())
  return new Promise((resolve, reject) => {
    const hold = (): Promise<void> => new Promise((release) => resolve(release))
    locks.request(name, { signal: AbortSignal.timeout(waitMs) }, hold).catch((cause: unknown) => {
      const timedOut = cause instanceof DOMException && (cause.name === 'TimeoutError' || cause.name === 'AbortError')
      reject(timedOut ? locked() : unavailable())
    })
  })
}

function locked(): MareaError {
  const message = "Another tab or window of this app has this user's mirror open. Close it, or go on there."
  return new MareaError('mirror_locked', message, true)
}

function unavailable(): MareaError {
  const message =
    'This browser gives no durable storage here (OPFS and Web Locks need a secure context), so nothing could be kept.'
  return new MareaError('storage_unavailable', message, false)
}
