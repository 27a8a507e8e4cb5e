// The last two weeks against the goal.

import type { ActivityDay } from '@marea/client'
import { lastDays, noonOf } from '../days'
import { useSpeech } from '../language'
import { useGoal } from '../learner'
import { Bars } from './Bars'
import { Chart } from './Chart'

export function Goal({ days }: { days: readonly ActivityDay[] }) {
  const { t, language } = useSpeech()
  const goal = useGoal()
  const byDay = new Map(days.map((day) => [day.day, day.minutes]))
  const shown = lastDays(14)
  const met = shown.filter((day) => (byDay.get(day) ?? 0) >= goal).length
  return (
    <Chart says={t.progress.goalMet(met)} text={t.progress.goalLine(goal)}>
      <Bars
        line={goal}
        bars={shown.map((day, index) => ({
          key: day,
          name: noonOf(day).toLocaleDateString(language, { weekday: 'narrow' }),
          value: byDay.get(day) ?? 0,
          text: t.progress.minutes(noonOf(day).toLocaleDateString(language, { weekday: 'long', day: 'numeric', month: 'long' }), byDay.get(day) ?? 0),
          marked: index === 13,
        }))}
      />
    </Chart>
  )
}
