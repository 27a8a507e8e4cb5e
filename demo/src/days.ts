// Calendar days of the learner, as text, without a time zone in them.

/** Today, by this device's clock and zone. */
export function today(): string {
  return daysAgo(0)
}

export function daysAgo(count: number): string {
  const date = new Date()
  date.setHours(12, 0, 0, 0)
  date.setDate(date.getDate() - count)
  const month = String(date.getMonth() + 1).padStart(2, '0')
  const day = String(date.getDate()).padStart(2, '0')
  return `${date.getFullYear()}-${month}-${day}`
}

/** A day for a heading or a label, in the reader's language. */
export function dayName(day: string, style: 'narrow' | 'long'): string {
  const date = new Date(`${day}T12:00:00`)
  return style === 'narrow'
    ? date.toLocaleDateString(undefined, { weekday: 'narrow' })
    : date.toLocaleDateString(undefined, { weekday: 'long', day: 'numeric', month: 'long' })
}
