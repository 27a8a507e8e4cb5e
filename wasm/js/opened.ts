// How developer tools learn of a mirror that was opened. They come by an entry of their own, so they meet under a name.

import type { Marea } from './marea.js'

const OPENED = Symbol.for('@marea/client:opened')

type Meeting = { [OPENED]?: Set<(marea: Marea) => void> }

/** Tells the tools, if there are any. */
export function tellOpened(marea: Marea): void {
  ;(globalThis as Meeting)[OPENED]?.forEach((tell) => tell(marea))
}

/** Calls `tell` with each mirror that this page opens from now on. Returns how to stop. */
export function watchOpened(tell: (marea: Marea) => void): () => void {
  const watchers = ((globalThis as Meeting)[OPENED] ??= new Set())
  watchers.add(tell)
  return () => void watchers.delete(tell)
}
