// Questions about a picture, one after the other, each with its answer at once.

import { useEffect, useMemo, useRef, useState } from 'react'
import type { Picture, Question } from '../content'
import { useSpeech } from '../language'
import { minutesSince, useLearner } from '../learner'
import { Icon } from '../parts/Icon'

/** The options in an order that differs by question, and is the same at each look. */
function shuffled(question: Question, seed: number): number[] {
  const orders = [[0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1], [0, 2, 1]]
  return orders[(seed * 5 + question.ask.en.length) % orders.length] as number[]
}

export function Questions({ picture }: { picture: Picture }) {
  const { t, target } = useSpeech()
  const { record } = useLearner()
  const [place, setPlace] = useState(0)
  const [chosen, setChosen] = useState<number | null>(null)
  const [right, setRight] = useState(0)
  const [startedMs, setStartedMs] = useState(() => Date.now())
  const heading = useRef<HTMLHeadingElement>(null)
  const all = picture.questions.length
  const question = picture.questions[place]
  const order = useMemo(() => (question ? shuffled(question, place) : []), [question, place])

  // The next question is read out, and the keys go on from it.
  useEffect(() => {
    if (place > 0) heading.current?.focus()
  }, [place])

  const choose = (option: number): void => {
    if (chosen !== null) return
    setChosen(option)
    if (option === 0) setRight(right + 1)
  }
  const next = async (): Promise<void> => {
    setChosen(null)
    setPlace(place + 1)
    if (place + 1 < all) return
    await record({
      session_type: 'qa',
      duration_minutes: minutesSince(startedMs),
      images_processed: 1,
      qa_attempts: all,
      qa_correct: right,
      session_data: { picture: picture.id },
    })
  }
  const again = (): void => {
    setPlace(0)
    setRight(0)
    setStartedMs(Date.now())
  }

  if (!question) {
    return (
      <div className="result">
        <h2 ref={heading} tabIndex={-1} data-testid="result">
          {t.pictures.result(right, all)}
        </h2>
        <p className="soft">{t.pictures.resultText(right, all)}</p>
        <button type="button" className="button" onClick={again}>
          {t.pictures.again}
        </button>
      </div>
    )
  }
  return (
    <div className="question">
      <p className="soft">{t.pictures.question(place + 1, all)}</p>
      <h2 ref={heading} tabIndex={-1} lang={target}>
        {question.ask[target]}
      </h2>
      <div className="options" role="group" aria-label={question.ask[target]}>
        {order.map((option) => (
          <button
            key={option}
            type="button"
            className="option"
            lang={target}
            aria-disabled={chosen !== null}
            data-state={chosen === null ? undefined : option === 0 ? 'right' : option === chosen ? 'wrong' : undefined}
            onClick={() => choose(option)}
            data-testid={option === 0 ? 'right-option' : 'wrong-option'}
          >
            {question.options[option]?.[target]}
            {chosen !== null && option === 0 && <Icon name="check" />}
            {chosen === option && option !== 0 && <Icon name="cross" />}
          </button>
        ))}
      </div>
      <p className="verdict" role="status">
        {chosen === 0 ? t.pictures.right : chosen === null ? '' : t.pictures.wrong(question.options[0][target])}
      </p>
      {chosen !== null && (
        <button type="button" className="button primary" autoFocus onClick={() => void next()} data-testid="next-question">
          {place + 1 < all ? t.pictures.next : t.pictures.finish}
        </button>
      )}
    </div>
  )
}
