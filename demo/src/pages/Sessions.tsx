// Past sessions, the same on all devices: corrected and deleted here, with or without a network. Totals and streak follow.

import type { Row } from '@marea/client'
import { useTable } from '@marea/client/react'
import { useState } from 'react'
import type { FormEvent } from 'react'
import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { Empty } from '../parts/Empty'
import { Icon } from '../parts/Icon'
import { Sure } from '../parts/Sure'

const PAGE = 20
const FIELDS = ['duration_minutes', 'descriptions_generated', 'qa_attempts', 'qa_correct', 'vocabulary_learned'] as const

export function PastSessions() {
  const { t } = useSpeech()
  const [limit, setLimit] = useState(PAGE)
  const { data: sessions } = useTable('sessions', { order: ['-ended_at'], limit })
  return (
    <section aria-labelledby="sessions-title">
      <h2 id="sessions-title">{t.history.sessions}</h2>
      {sessions?.length === 0 && <Empty icon="today" title={t.history.noSessions} text={t.history.noSessionsText} />}
      <ul className="rows">
        {sessions?.map((session) => <Past key={session.id} session={session} />)}
      </ul>
      {sessions?.length === limit && limit < 1000 && (
        <button type="button" className="button" onClick={() => setLimit(Math.min(1000, limit + PAGE))}>
          {t.history.more}
        </button>
      )}
    </section>
  )
}

function Past({ session }: { session: Row<'sessions'> }) {
  const { t, language } = useSpeech()
  const { marea, tell } = useLearner()
  const [editing, setEditing] = useState(false)
  const failed = (error: Error): void => tell(error.message)
  const type = session.session_type ?? ''
  const kind = (t.log.kinds as Record<string, string>)[type] ?? type
  const ended = session.ended_at ?? session.started_at
  const when = ended ? new Date(ended).toLocaleString(language, { dateStyle: 'medium', timeStyle: 'short' }) : ''
  const done = [
    t.history.minutes(session.duration_minutes ?? 0),
    session.descriptions_generated && t.history.descriptions(session.descriptions_generated),
    session.qa_attempts && t.history.answers(session.qa_correct ?? 0, session.qa_attempts),
    session.vocabulary_learned && t.history.learned(session.vocabulary_learned),
  ].filter(Boolean)

  const save = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    // Only what is another number now: what this device did not touch stays as other devices left it.
    const changes: Partial<Record<(typeof FIELDS)[number], number>> = {}
    for (const name of FIELDS) {
      const value = Number(form.get(name))
      if (value !== (session[name] ?? 0)) changes[name] = value
    }
    if (Object.keys(changes).length === 0) return setEditing(false)
    if (Number(form.get('qa_correct')) > Number(form.get('qa_attempts'))) return tell(t.log.tooMany)
    marea.table('sessions').update(session.id, changes).then(() => setEditing(false), failed)
  }
  if (editing) {
    const names = {
      duration_minutes: t.log.minutes,
      descriptions_generated: t.log.descriptions,
      qa_attempts: t.log.questions,
      qa_correct: t.log.correct,
      vocabulary_learned: t.log.words,
    }
    return (
      <li>
        <form className="inline-form" onSubmit={save}>
          {FIELDS.map((name, index) => (
            <label key={name} className="field number">
              {names[name]}
              <input
                name={name}
                type="number"
                inputMode="numeric"
                min={0}
                max={name === 'duration_minutes' ? 1440 : 100_000}
                required
                defaultValue={session[name] ?? 0}
                autoFocus={index === 0}
                data-testid={`correct-${name}`}
              />
            </label>
          ))}
          <button className="button primary">{t.save}</button>
          <button type="button" className="button" onClick={() => setEditing(false)}>
            {t.cancel}
          </button>
        </form>
      </li>
    )
  }
  return (
    <li className="row" data-testid="session">
      <span className="row-main">
        <span className="row-title">{kind}</span>
        <span className="soft">{when}</span>
      </span>
      <span className="row-main">{done.join(' · ')}</span>
      <span className="row-buttons">
        <button type="button" className="icon-button" aria-label={`${t.edit}: ${kind}, ${when}`} title={t.edit} onClick={() => setEditing(true)}>
          <Icon name="pencil" />
        </button>
        <Sure iconOnly name={`${t.remove}: ${kind}, ${when}`} question={t.history.sureSession} onSure={() => void marea.table('sessions').delete(session.id).catch(failed)} />
      </span>
    </li>
  )
}
