// Which days `useActivity` shows, and when it reads them again.

import type { Marea } from '../marea.js'
import type { ActivityDay } from '../types.js'
import { Watch } from '../watch.js'
import type { ErrorListener, Listener } from '../watch.js'

/** The last so many days, today included; or a range of days written `YYYY-MM-DD`, both included. */
export type ActivityRange =
  | { readonly days: number; readonly from?: never; readonly to?: never }
  | { readonly from: string; readonly to: string; readonly days?: never }

/** The same text for the same days, so that components which show them share one reading. */
export function nameOf(range: ActivityRange): string {
  return range.days === undefined ? `activity:${range.from}:${range.to}` : `activity:${range.days}`
}

/** The first and the last day of a range, as of `now`. */
export function daysOf(range: ActivityRange, now: Date): [from: string, to: string] {
  if (range.days === undefined) return [range.from, range.to]
  const first = new Date(now)
  first.setDate(first.getDate() - Math.max(Math.trunc(range.days), 1) + 1)
  return [dayText(first), dayText(now)]
}

/** The local calendar day: `toISOString` would give the one in Greenwich. */
function dayText(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  return `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
}

/** Days change with the progress, and when a new day has begun since the page was last looked at. */
export function followActivity(
  marea: Marea,
  days: () => [from: string, to: string],
  listener: Listener<ActivityDay[]>,
  onError: ErrorListener,
): () => void {
  const watch = new Watch(() => marea.activity(...days()))
  const stopWatching = watch.subscribe(listener, onError)
  const stopFollowing = marea.watchProgress(() => watch.refresh())
  const again = (): void => watch.refresh()
  document.addEventListener('visibilitychange', again)
  return () => {
    document.removeEventListener('visibilitychange', again)
    stopFollowing()
    stopWatching()
  }
}
