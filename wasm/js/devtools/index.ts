// A panel for whoever develops an app: what waits and why, what was exchanged, what is on the device. An entry of its own, which an
// app loads when it wants it.

import { NAME, makePanel } from './panel.js'
import { watchOpened } from '../opened.js'
import type { Marea } from '../marea.js'

export interface DevtoolsOptions {
  /** Where the panel is put: the end of the page's body unless it is given. */
  target?: HTMLElement
  /** Whether it is unfolded at once. */
  open?: boolean
}

/**
 * Shows the panel for an open mirror, in the lower right corner; one that is there already is handed this mirror. Returns how to
 * take it away: it stays for as long as another mount of it is there, and shows the mirror of the last one.
 */
export function mountDevtools(marea: Marea, options: DevtoolsOptions = {}): () => void {
  const { target = document.body, open = false } = options
  const there = target.querySelector(`:scope > ${NAME}`) as ReturnType<typeof makePanel> | null
  const panel = there ?? target.appendChild(makePanel())
  const mine = { marea }
  panel.mounts.push(mine)
  panel.marea = marea
  if (open) panel.open = true
  return () => {
    const at = panel.mounts.indexOf(mine)
    if (at < 0) return
    panel.mounts.splice(at, 1)
    const last = panel.mounts.at(-1)
    if (!last) panel.remove()
    else if (last.marea !== panel.marea) panel.marea = last.marea
  }
}

/** Shows the panel for whichever mirror this page opens last. Must be called before `open`. Returns how to stop. */
export function mountDevtoolsOnOpen(options: DevtoolsOptions = {}): () => void {
  let unmount: () => void = () => undefined
  const stop = watchOpened((marea) => {
    const before = unmount
    unmount = mountDevtools(marea, options)
    before()
  })
  return () => {
    stop()
    unmount()
  }
}
