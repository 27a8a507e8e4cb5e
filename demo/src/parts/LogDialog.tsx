// Practice that the app did not see, recorded by hand. Its answer is immediate and does not depend on a network.

import type { SessionInput } from '@marea/client'
import { useEffect, useRef, useState } from 'react'
import type { FormEvent } from 'react'
import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { Segments } from './Segments'

const FIELDS = ['minutes', 'descriptions', 'questions', 'correct', 'words'] as const
type Field = (typeof FIELDS)[number]
type Kind = 'describe' | 'qa' | 'vocabulary'

const START: Record<Field, string> = { minutes: '15', descriptions: '1', questions: '8', correct: '6', words: '5' }

export function LogDialog({ onClose }: { onClose(): void }) {
  const { t } = useSpeech()
  const { record } = useLearner()
  const dialog = useRef<HTMLDialogElement>(null)
  const [kind, setKind] = useState<Kind>('describe')
  const [values, setValues] = useState(START)
  const [problem, setProblem] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)
  const tooMany = Number(values.correct) > Number(values.questions)

  useEffect(() => dialog.current?.showModal(), [])

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault()
    setBusy(true)
    try {
      await record(toInput(kind, values))
      dialog.current?.close()
    } catch (error) {
      setProblem(error instanceof Error ? error.message : t.log.problem)
      setBusy(false)
    }
  }

  return (
    <dialog ref={dialog} className="dialog" aria-labelledby="log-title" onClose={onClose}>
      <h2 id="log-title">{t.log.title}</h2>
      <p className="soft">{t.log.lead}</p>
      <form onSubmit={(event) => void submit(event)}>
        <Segments<Kind>
          legend={t.log.kind}
          name="kind"
          value={kind}
          onChoose={setKind}
          choices={(['describe', 'qa', 'vocabulary'] as const).map((id) => ({ id, name: t.log.kinds[id] }))}
        />
        <div className="fields">
          {FIELDS.map((id) => (
            <label key={id} className="field">
              {t.log[id]}
              <input
                type="number"
                inputMode="numeric"
                min={0}
                max={id === 'minutes' ? 1440 : 100_000}
                step={1}
                required
                value={values[id]}
                onChange={(event) => setValues({ ...values, [id]: event.target.value })}
                data-testid={id}
              />
            </label>
          ))}
        </div>
        {(tooMany || problem) && (
          <p className="problem" role="alert" data-testid="record-problem">
            {tooMany ? t.log.tooMany : problem}
          </p>
        )}
        <div className="actions">
          <button type="button" className="button" onClick={() => dialog.current?.close()}>
            {t.cancel}
          </button>
          <button className="button primary" disabled={busy || tooMany} data-testid="record">
            {t.log.record}
          </button>
        </div>
      </form>
    </dialog>
  )
}

function toInput(kind: Kind, values: Record<Field, string>): SessionInput {
  return {
    session_type: kind,
    duration_minutes: Number(values.minutes),
    descriptions_generated: Number(values.descriptions),
    images_processed: Number(values.descriptions),
    qa_attempts: Number(values.questions),
    qa_correct: Number(values.correct),
    vocabulary_learned: Number(values.words),
  }
}
