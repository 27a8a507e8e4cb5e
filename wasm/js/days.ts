// When another local day begins while a page is open: at midnight, and where the learner or the clock moves.
//
// Looks at the clock every now and then instead of waiting for midnight: a timer that waits for hours is late by as long as
// the machine has slept, and knows of no journey.

// A new day is shown within a minute, also where the browser makes one timer of several.
const LOOK_MS = 20_000

/** The local calendar day: `toISOString` would give the one in Greenwich. */
export function dayText(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  return `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
}

/** The calendar day, `YYYY-MM-DD`: today's on this device, or that of a time. Where days begin later, `marea.today()` is the learner's. */
export const localDay = (time: Date = new Date()): string => dayText(time)

/** The learner's day at a moment, where days begin so many minutes after midnight. */
export function learnersDay(date: Date, dayStart: number): string {
  const shifted = new Date(date)
  // By the clock on the wall, not by hours that have gone by.
  shifted.setMinutes(shifted.getMinutes() - dayStart)
  return dayText(shifted)
}

/** Calls `listener` when the local day is another than before, while the page is visible or as soon as it is. Returns how to stop. */
export function onNewDay(listener: () => void, dayStart: () => number): () => void {
  let day = learnersDay(new Date(), dayStart())
  let timer: ReturnType<typeof setInterval> | undefined
  const look = (): void => {
    const now = learnersDay(new Date(), dayStart())
    if (now === day) return
    day = now
    listener()
  }
  const watch = (): void => {
    clearInterval(timer)
    if (document.visibilityState !== 'visible') return
    look()
    timer = setInterval(look, LOOK_MS)
  }
  watch()
  document.addEventListener('visibilitychange', watch)
  return () => {
    clearInterval(timer)
    document.removeEventListener('visibilitychange', watch)
  }
}
