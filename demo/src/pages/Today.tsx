// What there is to do today, and how far the learner is.

import { useActivity, useProgress, useQuery } from '@marea/client/react'
import { useState } from 'react'
import { Bars } from '../charts/Bars'
import { pictureOfTheDay } from '../content'
import { lastDays, noonOf, today } from '../days'
import { useSpeech } from '../language'
import { useGoal } from '../learner'
import { Icon } from '../parts/Icon'
import { LogDialog } from '../parts/LogDialog'
import { Numbers } from '../parts/Numbers'
import { hrefOf } from '../route'

export function Today() {
  const { t, language, target } = useSpeech()
  const [logging, setLogging] = useState(false)
  const now = new Date()
  const picture = pictureOfTheDay()
  return (
    <div className="page">
      <div className="title-row">
        <div>
          <p className="over">{now.toLocaleDateString(language, { weekday: 'long', day: 'numeric', month: 'long' })}</p>
          <h1>{t.today.hello(now.getHours())}</h1>
        </div>
        <button type="button" className="button" onClick={() => setLogging(true)} data-testid="log">
          <Icon name="plus" />
          {t.today.log}
        </button>
      </div>
      <div className="today">
        <section className="card picture-card" aria-labelledby="picture-title">
          <img src={picture.source} alt={picture.title[language]} width={480} height={320} />
          <div className="picture-words">
            <p className="over">{t.today.picture}</p>
            <h2 id="picture-title" lang={target}>
              {picture.title[target]}
            </h2>
            <div className="buttons">
              <a className="button primary" href={hrefOf('pictures', picture.id)}>
                {t.today.describe}
              </a>
              <a className="button" href={hrefOf('pictures', picture.id, 'questions')}>
                {t.today.questions}
              </a>
            </div>
          </div>
        </section>
        <Due pictureId={picture.id} />
        <Week />
        <SoFar />
      </div>
      {logging && <LogDialog onClose={() => setLogging(false)} />}
    </div>
  )
}

function Due({ pictureId }: { pictureId: string }) {
  const { t } = useSpeech()
  const { data } = useQuery<{ due: number }>('SELECT count(*) AS due FROM words WHERE due_on IS NULL OR due_on <= ?1', [today()])
  const due = data?.[0]?.due ?? 0
  return (
    <section className="card due" data-due={due > 0 || undefined} aria-labelledby="due-title">
      <h2 id="due-title">{due > 0 ? t.today.due(due) : t.today.noneDue}</h2>
      <p className="soft">{due > 0 ? t.today.dueText : t.today.noneDueText}</p>
      {due > 0 ? (
        <a className="button primary" href={hrefOf('review')} data-testid="review">
          {t.today.review}
          <Icon name="arrow" />
        </a>
      ) : (
        <a className="button" href={hrefOf('pictures', pictureId, 'words')}>
          {t.today.collect}
        </a>
      )}
    </section>
  )
}

function Week() {
  const { t, language } = useSpeech()
  const goal = useGoal()
  const { data: days } = useActivity({ days: 7 })
  const byDay = new Map((days ?? []).map((day) => [day.day, day]))
  const shown = lastDays(7)
  const minutes = byDay.get(shown[6] ?? '')?.minutes ?? 0
  return (
    <section className="card" aria-labelledby="week-title">
      <h2 id="week-title">{t.today.goal(minutes, goal)}</h2>
      <p className="soft">{t.today.week}</p>
      <Bars
        line={goal}
        bars={shown.map((day, index) => ({
          key: day,
          name: noonOf(day).toLocaleDateString(language, { weekday: 'narrow' }),
          value: byDay.get(day)?.minutes ?? 0,
          text: t.progress.minutes(noonOf(day).toLocaleDateString(language, { weekday: 'long' }), byDay.get(day)?.minutes ?? 0),
          marked: index === 6,
        }))}
      />
    </section>
  )
}

function SoFar() {
  const { t } = useSpeech()
  const { data: progress } = useProgress()
  return (
    <section className="card so-far" aria-labelledby="numbers-title">
      <h2 id="numbers-title">{t.today.soFar}</h2>
      {progress && <Numbers progress={progress} />}
    </section>
  )
}
