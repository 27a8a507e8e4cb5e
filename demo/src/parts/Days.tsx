// The last days as small bars, one for each, by minutes.

import type { ActivityDay } from '@marea/client'
import { dayName, daysAgo } from '../days'

// Below this, a single short session would fill the chart and look like a great day.
const SMALLEST_SCALE_MINUTES = 30

export function Days({ days, count }: { days: ActivityDay[]; count: number }) {
  const byDay = new Map(days.map((day) => [day.day, day]))
  const shown = Array.from({ length: count }, (_, index) => daysAgo(count - 1 - index))
  const scale = Math.max(SMALLEST_SCALE_MINUTES, ...days.map((day) => day.minutes))
  return (
    <section className="card" aria-labelledby="days-title">
      <h2 id="days-title">Last two weeks</h2>
      <ol className="days">
        {shown.map((day, index) => {
          const minutes = byDay.get(day)?.minutes ?? 0
          const sessions = byDay.get(day)?.sessions ?? 0
          const words = `${dayName(day, 'long')}: ${minutes} min, ${sessions} ${sessions === 1 ? 'session' : 'sessions'}`
          return (
            <li key={day} title={words} data-today={index === count - 1 || undefined} data-active={sessions > 0 || undefined}>
              <span className="rod" aria-hidden="true">
                <span style={{ height: `${(100 * minutes) / scale}%` }} />
              </span>
              <span className="initial" aria-hidden="true">
                {dayName(day, 'narrow')}
              </span>
              <span className="unseen">{words}</span>
            </li>
          )
        })}
      </ol>
    </section>
  )
}
