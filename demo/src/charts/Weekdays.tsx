// On which days of the week the learner practises.

import type { ActivityDay } from '@marea/client'
import { daysAgo, weekdayOf } from '../days'
import { useSpeech } from '../language'
import { Bars } from './Bars'
import { Chart } from './Chart'

const MONDAY = new Date(2024, 0, 1, 12)

export function Weekdays({ days }: { days: readonly ActivityDay[] }) {
  const { t, language } = useSpeech()
  const minutes = [0, 0, 0, 0, 0, 0, 0]
  const first = daysAgo(83)
  for (const day of days) if (day.day >= first) minutes[weekdayOf(day.day)] = (minutes[weekdayOf(day.day)] ?? 0) + day.minutes
  const best = minutes.indexOf(Math.max(...minutes))
  const name = (index: number, weekday: 'long' | 'short'): string => {
    const date = new Date(MONDAY)
    date.setDate(1 + index)
    return date.toLocaleDateString(language, { weekday })
  }
  const some = minutes.some((value) => value > 0)
  return (
    <Chart says={some ? t.progress.weekdays(name(best, 'long')) : t.progress.weekdaysNone} text={t.progress.weekdaysText}>
      <Bars
        bars={minutes.map((value, index) => ({
          key: String(index),
          name: name(index, 'short'),
          value,
          text: t.progress.minutes(name(index, 'long'), value),
          marked: some && index === best,
        }))}
      />
    </Chart>
  )
}
