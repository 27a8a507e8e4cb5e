// How many answers are right, week by week.

import type { ActivityDay } from '@marea/client'
import { lastDays, noonOf, weekdayOf } from '../days'
import { useSpeech } from '../language'
import { Chart } from './Chart'

interface Week {
  first: string
  all: number
  rate: number
}

const [WIDTH, HEIGHT, EDGE] = [320, 120, 8]

/** The weeks with answers, oldest first, of the last twelve. */
function weeksOf(days: readonly ActivityDay[]): Week[] {
  const byDay = new Map(days.map((day) => [day.day, day]))
  const weeks: { first: string; all: number; right: number }[] = []
  for (const day of lastDays(84)) {
    if (weeks.length === 0 || weekdayOf(day) === 0) weeks.push({ first: day, all: 0, right: 0 })
    const week = weeks[weeks.length - 1]
    const seen = byDay.get(day)
    if (week && seen) [week.all, week.right] = [week.all + seen.questions, week.right + seen.correct]
  }
  return weeks.filter((week) => week.all > 0).map(({ first, all, right }) => ({ first, all, rate: Math.round((100 * right) / all) }))
}

export function Accuracy({ days }: { days: readonly ActivityDay[] }) {
  const { t, language } = useSpeech()
  const weeks = weeksOf(days)
  const [first, last] = [weeks[0], weeks[weeks.length - 1]]
  if (!first || !last) return <Chart says={t.progress.accuracyNone} text={t.progress.accuracyText} />
  const x = (index: number): number => (weeks.length === 1 ? WIDTH / 2 : EDGE + (index * (WIDTH - 2 * EDGE)) / (weeks.length - 1))
  const y = (rate: number): number => HEIGHT - EDGE - ((HEIGHT - 2 * EDGE) * rate) / 100
  const says = weeks.length === 1 ? t.progress.accuracy(last.rate) : t.progress.accuracyChange(first.rate, last.rate)
  const text = (week: Week): string => t.progress.week(noonOf(week.first).toLocaleDateString(language, { day: 'numeric', month: 'short' }), week.rate, week.all)
  return (
    <Chart says={says} text={t.progress.accuracyText}>
      <svg className="line-chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={weeks.map(text).join('; ')}>
        {[0, 50, 100].map((rate) => (
          <line key={rate} x1={0} x2={WIDTH} y1={y(rate)} y2={y(rate)} />
        ))}
        <polyline points={weeks.map((week, index) => `${x(index)},${y(week.rate)}`).join(' ')} />
        {weeks.map((week, index) => (
          <circle key={week.first} cx={x(index)} cy={y(week.rate)} r={4.5}>
            <title>{text(week)}</title>
          </circle>
        ))}
      </svg>
    </Chart>
  )
}
