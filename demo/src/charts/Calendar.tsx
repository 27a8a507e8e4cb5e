// The last weeks as squares, one column for each week.

import type { ActivityDay } from '@marea/client'
import { lastDays, noonOf, weekdayOf } from '../days'
import { useSpeech } from '../language'
import { useGoal } from '../learner'
import { Chart } from './Chart'

const CELL = 14
const LEFT = 30
const TOP = 18

export function Calendar({ days, count }: { days: readonly ActivityDay[]; count: number }) {
  const { t, language } = useSpeech()
  const goal = useGoal()
  const byDay = new Map(days.map((day) => [day.day, day]))
  const shown = lastDays(count)
  const offset = weekdayOf(shown[0] as string)
  const weeks = Math.ceil((count + offset) / 7)
  const active = days.filter((day) => day.sessions > 0 && day.day >= (shown[0] as string)).length
  const says = active === 0 ? t.progress.activeNone : t.progress.active(active, count)
  const levelOf = (minutes: number): number => (minutes === 0 ? 0 : Math.min(4, Math.ceil((minutes / goal) * 2)))
  const cells = shown.map((day, index) => ({ day, column: Math.floor((index + offset) / 7), row: (index + offset) % 7 }))
  const months = cells.filter((cell, index) => cell.day.endsWith('-01') || index === 0)
  const name = (day: string): string => noonOf(day).toLocaleDateString(language, { day: 'numeric', month: 'long' })
  return (
    <Chart wide says={says} text={t.progress.calendar}>
      <svg className="calendar" viewBox={`0 0 ${LEFT + weeks * CELL} ${TOP + 7 * CELL}`} role="img" aria-label={says}>
        {months.map((cell, index) =>
          // The first label gives way where the next month begins right beside it.
          index === 0 && months[1] && months[1].column - cell.column < 3 ? null : (
            <text key={cell.day} x={LEFT + cell.column * CELL} y={11}>
              {noonOf(cell.day).toLocaleDateString(language, { month: 'short' })}
            </text>
          ),
        )}
        {[0, 2, 4].map((row) => (
          <text key={row} x={0} y={TOP + row * CELL + 10}>
            {new Date(2024, 0, 1 + row, 12).toLocaleDateString(language, { weekday: 'short' })}
          </text>
        ))}
        {cells.map(({ day, column, row }) => {
          const seen = byDay.get(day)
          return (
            <rect key={day} x={LEFT + column * CELL} y={TOP + row * CELL} width={CELL - 3} height={CELL - 3} rx={3} data-level={levelOf(seen?.minutes ?? 0)}>
              <title>{t.progress.day(name(day), seen?.minutes ?? 0, seen?.sessions ?? 0)}</title>
            </rect>
          )
        })}
      </svg>
      <p className="legend" aria-hidden="true">
        {t.progress.less}
        {[0, 1, 2, 3, 4].map((level) => (
          <i key={level} data-level={level} />
        ))}
        {t.progress.more}
      </p>
    </Chart>
  )
}
