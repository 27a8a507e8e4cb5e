// How it goes: a calendar, and charts that each say one thing in words first.

import { useActivity } from '@marea/client/react'
import { Accuracy } from '../charts/Accuracy'
import { Calendar } from '../charts/Calendar'
import { Goal } from '../charts/Goal'
import { Forecast, Strengths } from '../charts/WordCharts'
import { Weekdays } from '../charts/Weekdays'
import { useSpeech } from '../language'
import { ProgressTabs } from '../parts/ProgressTabs'
import { useNarrow } from '../useNarrow'

const DAYS = 126
// As many weeks as can be told apart on a phone.
const NARROW_DAYS = 84

export function Progress() {
  const { t } = useSpeech()
  const narrow = useNarrow()
  const { data: days } = useActivity({ days: DAYS })
  return (
    <div className="page">
      <h1>{t.progress.title}</h1>
      <ProgressTabs />
      {days && (
        <div className="charts">
          <Calendar days={days} count={narrow ? NARROW_DAYS : DAYS} />
          <Goal days={days} />
          <Accuracy days={days} />
          <Strengths />
          <Forecast />
          <Weekdays days={days} />
        </div>
      )}
    </div>
  )
}
