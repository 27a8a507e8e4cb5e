// What happens to a page, as the browser tells it: looked at, frozen, put into the back/forward cache, and back again.
//
// A frozen page's worker is frozen too, with the lock and the mirror's files in its hands. The browser says `freeze`
// before it does so, and that moment is the only one in which they can be let go of.

import { onNewDay } from './days.js'

export interface LifecycleEvents {
  /** Nobody looks at this page any more: it may be frozen, thrown away or killed, and is not told. `gone`: it has been left. */
  leaving(gone: boolean): void
  /** It was looked at again. */
  staying(): void
  /** Nothing of this page will run until `awake`. What it holds must be let go of before this returns. */
  asleep(): void
  awake(): void
  visible(): void
  /** Another local day has begun. */
  newDay(): void
  /** At which minute after midnight one begins. */
  dayStart(): number
  network(online: boolean): void
}

/** Listens until `signal` is aborted. */
export function listenToPage(events: LifecycleEvents, signal: AbortSignal): void {
  const options = { signal }
  document.addEventListener('freeze', () => events.asleep(), options)
  document.addEventListener('resume', () => events.awake(), options)
  const pageHidden = (event: PageTransitionEvent): void => {
    events.leaving(true)
    // Safari and Firefox have no `freeze`, but keep left pages in a cache for going back.
    if (event.persisted) events.asleep()
  }
  const pageShown = (event: PageTransitionEvent): void => {
    events.staying()
    if (event.persisted) events.awake()
  }
  const visibilityChanged = (): void => {
    if (document.visibilityState === 'hidden') return events.leaving(false)
    events.staying()
    events.visible()
  }
  window.addEventListener('pagehide', pageHidden, options)
  window.addEventListener('pageshow', pageShown, options)
  document.addEventListener('visibilitychange', visibilityChanged, options)
  signal.addEventListener('abort', onNewDay(() => events.newDay(), () => events.dayStart()))
  window.addEventListener('online', () => events.network(true), options)
  window.addEventListener('offline', () => events.network(false), options)
}
