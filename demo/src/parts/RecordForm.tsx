// The form that records a session. Its answer is immediate and does not depend on a network.

import type { Marea, SessionInput } from '@marea/client'
import { useState } from 'react'
import type { FormEvent } from 'react'

const KINDS = [
  { id: 'describe', name: 'Describe' },
  { id: 'qa', name: 'Questions' },
  { id: 'vocabulary', name: 'Words' },
] as const

const FIELDS = [
  { id: 'minutes', name: 'Minutes', start: 15 },
  { id: 'descriptions', name: 'Descriptions', start: 2 },
  { id: 'questions', name: 'Questions', start: 8 },
  { id: 'correct', name: 'Correct', start: 6 },
  { id: 'words', name: 'New words', start: 5 },
] as const

type Field = (typeof FIELDS)[number]['id']
type Values = Record<Field, string>

const START = Object.fromEntries(FIELDS.map((field) => [field.id, String(field.start)])) as Values

export function RecordForm({ marea }: { marea: Marea }) {
  const [kind, setKind] = useState<string>('describe')
  const [values, setValues] = useState<Values>(START)
  const [kept, setKept] = useState(0)
  const [problem, setProblem] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)

  const tooManyCorrect = Number(values.correct) > Number(values.questions)

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault()
    setBusy(true)
    try {
      await marea.recordSession(toInput(kind, values))
      setKept((count) => count + 1)
      setProblem(null)
    } catch (error) {
      setProblem(error instanceof Error ? error.message : 'The session could not be kept.')
    } finally {
      setBusy(false)
    }
  }

  return (
    <section className="card record" aria-labelledby="record-title">
      <h2 id="record-title">Record a session</h2>
      <form onSubmit={(event) => void submit(event)}>
        <fieldset className="kinds">
          <legend className="unseen">Kind of session</legend>
          {KINDS.map(({ id, name }) => (
            <label key={id}>
              <input
                type="radio"
                name="kind"
                checked={kind === id}
                onChange={() => setKind(id)}
                data-testid={`kind-${id}`}
              />
              <span>{name}</span>
            </label>
          ))}
        </fieldset>
        <div className="fields">
          {FIELDS.map(({ id, name }) => (
            <label key={id} className="field">
              {name}
              <input
                type="number"
                inputMode="numeric"
                min={0}
                max={100_000}
                step={1}
                required
                value={values[id]}
                onChange={(event) => setValues({ ...values, [id]: event.target.value })}
                data-testid={id}
              />
            </label>
          ))}
        </div>
        {tooManyCorrect && <p className="problem">There cannot be more correct answers than questions.</p>}
        {problem && (
          <p className="problem" role="alert" data-testid="record-problem">
            {problem}
          </p>
        )}
        <div className="actions">
          <button className="button primary" disabled={busy || tooManyCorrect} data-testid="record">
            Record session
          </button>
          <p className="kept" role="status" data-testid="kept" data-count={kept}>
            {kept > 0 && 'Kept on this device.'}
          </p>
        </div>
      </form>
    </section>
  )
}

function toInput(kind: string, values: Values): SessionInput {
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
