// How well the words are known, and how many come up in the next days.

import { useQuery } from '@marea/client/react'
import { daysAgo, noonOf, today } from '../days'
import { useSpeech } from '../language'
import { KNOWN_DAYS } from '../schedule'
import { Bars } from './Bars'
import { Chart } from './Chart'

interface Kinds {
  fresh: number
  learning: number
  known: number
}

export function Strengths() {
  const { t } = useSpeech()
  const { data } = useQuery<Kinds>(
    `SELECT count(*) FILTER (WHERE coalesce(interval_days, 0) = 0) AS fresh,
       count(*) FILTER (WHERE interval_days BETWEEN 1 AND ?1 - 1) AS learning,
       count(*) FILTER (WHERE interval_days >= ?1) AS known FROM words`,
    [KNOWN_DAYS],
  )
  const kinds = data?.[0]
  const all = kinds ? kinds.fresh + kinds.learning + kinds.known : 0
  if (!kinds || all === 0) return <Chart says={t.progress.wordsNone} />
  return (
    <Chart says={t.progress.words(kinds.known, all)}>
      <div className="stacked" aria-hidden="true">
        {(['known', 'learning', 'fresh'] as const).map((kind) => kinds[kind] > 0 && <span key={kind} data-kind={kind} style={{ flexGrow: kinds[kind] }} />)}
      </div>
      <ul className="keys-of-chart">
        {(['known', 'learning', 'fresh'] as const).map((kind) => (
          <li key={kind}>
            <i data-kind={kind} aria-hidden="true" />
            {t.progress.kinds[kind]} <strong>{kinds[kind]}</strong>
          </li>
        ))}
      </ul>
    </Chart>
  )
}

export function Forecast() {
  const { t, language } = useSpeech()
  const days = Array.from({ length: 7 }, (_, index) => daysAgo(-index))
  const { data } = useQuery<{ day: string; reviews: number }>(
    'SELECT max(coalesce(due_on, ?1), ?1) AS day, count(*) AS reviews FROM words WHERE coalesce(due_on, ?1) <= ?2 GROUP BY 1',
    [today(), days[6] as string],
  )
  const byDay = new Map((data ?? []).map((row) => [row.day, row.reviews]))
  const sum = [...byDay.values()].reduce((total, reviews) => total + reviews, 0)
  return (
    <Chart says={sum === 0 ? t.progress.forecastNone : t.progress.forecast(sum)}>
      <Bars
        bars={days.map((day, index) => ({
          key: day,
          name: noonOf(day).toLocaleDateString(language, { weekday: 'short' }),
          value: byDay.get(day) ?? 0,
          text: t.progress.reviews(noonOf(day).toLocaleDateString(language, { weekday: 'long' }), byDay.get(day) ?? 0),
          marked: index === 0,
        }))}
      />
    </Chart>
  )
}
