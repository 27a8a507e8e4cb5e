// How it goes: a calendar, and charts that each say one thing in words first.

import { useActivity } from '@marea/client/react'
import { useState } from 'react'
import { Accuracy } from '../charts/Accuracy'
import { Calendar } from '../charts/Calendar'
import { Goal } from '../charts/Goal'
import { Forecast, Strengths } from '../charts/WordCharts'
import { Weekdays } from '../charts/Weekdays'
import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { Empty } from '../parts/Empty'
import { ProgressTabs } from '../parts/ProgressTabs'
import { fillWithSample } from '../sample'
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
      {days?.length === 0 && <Sample />}
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

/** For who has no practice yet, and wants to see what this page is like. */
function Sample() {
  const { t, language, target } = useSpeech()
  const { marea, tell } = useLearner()
  const [busy, setBusy] = useState(false)
  const fill = (): void => {
    setBusy(true)
    void fillWithSample(marea, marea.userId, target, language).catch((error: Error) => {
      tell(error.message)
      setBusy(false)
    })
  }
  return (
    <Empty icon="progress" title={t.progress.empty} text={t.progress.emptyText}>
      <button type="button" className="button" disabled={busy} onClick={fill} data-testid="sample">
        {t.progress.sample}
      </button>
    </Empty>
  )
}
