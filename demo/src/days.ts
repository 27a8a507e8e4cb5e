// Calendar days of the learner, as text (`YYYY-MM-DD`), without a time zone in them.

/** The day so many days before today (negative: after it), by this device's clock and zone. */
export function daysAgo(count: number): string {
  const date = new Date()
  // At noon no change of the clocks makes it another day.
  date.setHours(12, 0, 0, 0)
  date.setDate(date.getDate() - count)
  const month = String(date.getMonth() + 1).padStart(2, '0')
  const day = String(date.getDate()).padStart(2, '0')
  return `${date.getFullYear()}-${month}-${day}`
}

export const today = (): string => daysAgo(0)

/** Noon of a day, for `Intl` to write. */
export const noonOf = (day: string): Date => new Date(`${day}T12:00:00`)

/** 0 for Monday to 6 for Sunday. */
export const weekdayOf = (day: string): number => (noonOf(day).getDay() + 6) % 7

/** The last `count` days, oldest first, today included. */
export const lastDays = (count: number): string[] => Array.from({ length: count }, (_, index) => daysAgo(count - 1 - index))
