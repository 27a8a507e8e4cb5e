// A text about a picture, with the words of the picture ticked off as they are used.

import { useState } from 'react'
import type { FormEvent } from 'react'
import { wordsUsed } from '../content'
import type { Picture } from '../content'
import { useSpeech } from '../language'
import { minutesSince, useLearner } from '../learner'
import { Icon } from '../parts/Icon'

const MIN_LETTERS = 15
const MAX_LETTERS = 2000

export function Describe({ picture }: { picture: Picture }) {
  const { t, target } = useSpeech()
  const { marea, record } = useLearner()
  const [text, setText] = useState('')
  const [startedMs, setStartedMs] = useState(() => Date.now())
  const [problem, setProblem] = useState<string | null>(null)
  const used = wordsUsed(text, picture, target)

  const save = async (event: FormEvent): Promise<void> => {
    event.preventDefault()
    const body = text.trim()
    if (body.length < MIN_LETTERS) return setProblem(t.pictures.tooShort)
    try {
      await marea.table('descriptions').insert({ picture: picture.id, body, written_at: new Date() })
      await record({
        session_type: 'describe',
        duration_minutes: minutesSince(startedMs),
        images_processed: 1,
        descriptions_generated: 1,
        session_data: { picture: picture.id, words_used: used.size },
      })
      setText('')
      setStartedMs(Date.now())
      setProblem(null)
    } catch (error) {
      setProblem(error instanceof Error ? error.message : t.log.problem)
    }
  }

  return (
    <form className="describe" onSubmit={(event) => void save(event)}>
      <label className="field" htmlFor="description">
        {t.pictures.describeLabel(t.languages[target])}
      </label>
      <textarea
        id="description"
        lang={target}
        rows={6}
        maxLength={MAX_LETTERS}
        value={text}
        spellCheck
        onChange={(event) => setText(event.target.value)}
        aria-describedby="words-used"
        data-testid="description"
      />
      <p id="words-used" className="soft">
        {t.pictures.used(used.size, picture.words.length)}
      </p>
      <ul className="chips" lang={target}>
        {picture.words.map((word, index) => (
          <li key={word.en} className="chip" data-used={used.has(index) || undefined}>
            {used.has(index) && <Icon name="check" />}
            {word[target]}
          </li>
        ))}
      </ul>
      {problem !== null && (
        <p className="problem" role="alert">
          {problem}
        </p>
      )}
      <button className="button primary" disabled={text.trim() === ''} data-testid="save-description">
        {t.pictures.saveText}
      </button>
    </form>
  )
}
