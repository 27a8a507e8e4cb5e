// In Node nobody looks at a page: a new day is told of when it has begun, for as long as the program runs.

import timers from 'node:timers'
import { learnersDay } from '../days.js'

export { dayText, learnersDay, localDay } from '../days.js'

const LOOK_MS = 20_000

/** As the page's. Waiting for a day does not keep a program from ending. */
export function onNewDay(listener: () => void, dayStart: () => number): () => void {
  let day = learnersDay(new Date(), dayStart())
  const timer = timers.setInterval(() => {
    const now = learnersDay(new Date(), dayStart())
    if (now === day) return
    day = now
    listener()
  }, LOOK_MS)
  timer.unref()
  return () => timers.clearInterval(timer)
}
