// Where a mirror can be kept on this device: the browser's file system, else `localStorage`, else memory; and why not better.

import { MareaError } from './errors.js'
import type { Kept } from './memory.js'
import type { Candidacy } from './protocol.js'

/** A place to try, and why none before it was taken; null for the best. */
export interface Place {
  storage: Candidacy['storage']
  reason: StorageReason | null
}

/** Why a mirror is not in the browser's file system. More codes may be added. */
export interface StorageReason {
  code: 'asked_for' | 'insecure_context' | 'not_supported' | 'refused' | 'kept_there' | (string & {})
  message: string
}

/** Where to look, best first. A device that has a mirror in one place must not begin an empty one in another. */
export function placesFor(asked: Candidacy['storage'] | undefined, known: Kept | null): Place[] {
  if (asked) {
    const reason = { code: 'asked_for', message: 'The app asked for this storage.' }
    return [{ storage: asked, reason: asked === 'opfs' ? null : reason }]
  }
  const missing = whatOpfsLacks()
  if (known === 'opfs') return missing ? [] : [{ storage: 'opfs', reason: null }]
  if (known === 'local-storage') {
    const message = 'The mirror of this device was begun in localStorage, and stays there.'
    return [{ storage: 'local-storage', reason: missing ?? { code: 'kept_there', message } }]
  }
  const others: Place = { storage: localStorageWorks() ? 'local-storage' : 'memory', reason: missing }
  return missing ? [others] : [{ storage: 'opfs', reason: null }, others]
}

/** What a place that was tried and refused is to the next one. */
export function refusedReason({ message }: MareaError): StorageReason {
  return { code: 'refused', message }
}

/** Whether a failure is the place's, so that another place may be better: nothing of this user is in this one. */
export function isThePlaces(error: unknown, known: Kept | null): error is MareaError {
  if (!(error instanceof MareaError)) return false
  return error.code === 'storage_unavailable' || (error.code === 'storage_failed' && known === null)
}

/** Each mirror has its worker, so what is asked here is only whether it is worth while to begin one. */
function whatOpfsLacks(): StorageReason | null {
  if (!isSecureContext) {
    return { code: 'insecure_context', message: 'The page is not in a secure context (https or localhost).' }
  }
  const offered =
    typeof Worker !== 'undefined' &&
    typeof navigator.storage?.getDirectory === 'function' &&
    typeof FileSystemFileHandle !== 'undefined' &&
    navigator.locks !== undefined
  if (offered) return null
  return { code: 'not_supported', message: 'This browser has no file system (OPFS), workers or Web Locks.' }
}

function localStorageWorks(): boolean {
  try {
    localStorage.setItem('marea:probe', '1')
    localStorage.removeItem('marea:probe')
    return true
  } catch {
    // Blocked by the user, or by a policy.
    return false
  }
}
