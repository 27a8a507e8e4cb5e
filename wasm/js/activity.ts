// Which days a range of days is, and when it is read again.

import { dayText, learnersDay, onNewDay } from './days.js'
import { MareaError } from './errors.js'
import type { ActivityDay } from './types.js'
import type { ErrorListener, Listener } from './watch.js'

/** The last so many days, today included; or a range of days written `YYYY-MM-DD`, both included. */
export type ActivityRange =
  | { readonly days: number; readonly from?: never; readonly to?: never }
  | { readonly from: string; readonly to: string; readonly days?: never }

/** A hundred years. */
const MAX_DAYS = 36_525

/** The first and the last day of a range, as of `now`. */
export function daysOf(range: ActivityRange, now: Date, dayStart: number): [from: string, to: string] {
  if (typeof range !== 'object' || range === null) throw wrong('range: expected { days }, or { from, to }')
  if (range.days === undefined) return [range.from, range.to]
  if (!Number.isFinite(range.days) || range.days > MAX_DAYS) throw wrong(`days: expected a number up to ${MAX_DAYS}`)
  const today = new Date(`${learnersDay(now, dayStart)}T12:00`)
  const first = new Date(today)
  first.setDate(first.getDate() - Math.max(Math.trunc(range.days), 1) + 1)
  return [dayText(first), dayText(today)]
}

const wrong = (message: string): MareaError => new MareaError('invalid_input', message, false)

/** Follows the days; those of a range that ends today are others as soon as a new day has begun. */
export function followActivity(
  range: ActivityRange,
  watch: (from: string, to: string, listener: Listener<ActivityDay[]>, onError: ErrorListener) => () => void,
  listener: Listener<ActivityDay[]>,
  onError: ErrorListener,
  dayStart: () => number,
): () => void {
  let followed = ''
  let stop = (): void => undefined
  const follow = (): void => {
    let days: [from: string, to: string]
    try {
      days = daysOf(range, new Date(), dayStart())
    } catch (error) {
      return onError(error as MareaError)
    }
    const [from, to] = days
    if (followed === `${from} ${to}`) return
    followed = `${from} ${to}`
    stop()
    stop = watch(from, to, listener, onError)
  }
  follow()
  const stopDays = onNewDay(follow, dayStart)
  return () => {
    stopDays()
    stop()
  }
}
