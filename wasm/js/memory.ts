// What a page remembers of its mirrors: that there was one, and where. Without it, an evicted mirror would look like a
// new one, and a browser that withholds its file system for once would begin an empty mirror beside the full one.

export type Kept = 'opfs' | 'local-storage'

const keyOf = (userId: string): string => `marea:${userId.toLowerCase()}:kept-in`

/** Where this device had a mirror of the user; null when it had none, or nothing can be remembered. */
export function knownStorage(userId: string): Kept | null {
  try {
    const kept = localStorage.getItem(keyOf(userId))
    return kept === 'opfs' || kept === 'local-storage' ? kept : null
  } catch {
    return null
  }
}

export function noteMirror(userId: string, storage: Kept | 'memory'): void {
  if (storage === 'memory') return
  try {
    if (localStorage.getItem(keyOf(userId)) !== storage) localStorage.setItem(keyOf(userId), storage)
  } catch {
    // Full, or blocked: an eviction will then not be told from a beginning.
  }
}

export function forgetMirror(userId: string): void {
  try {
    localStorage.removeItem(keyOf(userId))
  } catch {
    // Blocked: nothing was remembered either.
  }
}
