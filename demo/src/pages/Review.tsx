// Words that are due, one card at a time. Each grade is kept at once: nothing is lost when the tab is closed in between.

import { useEffect, useRef, useState } from 'react'
import { today } from '../days'
import { useSpeech } from '../language'
import { minutesSince, useLearner } from '../learner'
import { Empty } from '../parts/Empty'
import { Icon } from '../parts/Icon'
import { hrefOf } from '../route'
import { dueOn, GRADES, nextInterval } from '../schedule'
import type { Grade } from '../schedule'

interface Card {
  id: string
  word: string
  meaning: string | null
  interval_days: number | null
  times_seen: number | null
  language: string
}

const AT_ONCE = 20

export function Review({ listId }: { listId: string | null }) {
  const { t } = useSpeech()
  const { marea, record, tell } = useLearner()
  const [cards, setCards] = useState<Card[] | null>(null)
  const [shown, setShown] = useState(false)
  const [reviewed, setReviewed] = useState(0)
  const [learned, setLearned] = useState(0)
  const [startedMs] = useState(() => Date.now())
  const reveal = useRef<HTMLButtonElement>(null)

  // The cards are chosen once: what other devices do meanwhile changes the next round.
  useEffect(() => {
    void marea
      .query<Card & Record<string, string | number | null>>(
        `SELECT w.id, w.word, w.meaning, w.interval_days, w.times_seen, l.language FROM words w JOIN word_lists l ON l.id = w.list_id
         WHERE (w.due_on IS NULL OR w.due_on <= ?1) AND (?2 IS NULL OR w.list_id = ?2) ORDER BY w.due_on IS NULL, w.due_on, w.word LIMIT ${AT_ONCE}`,
        [today(), listId],
      )
      .then(setCards, (error: Error) => tell(error.message))
  }, [marea, listId, tell])

  const card = cards?.[0]
  useEffect(() => reveal.current?.focus(), [card])

  const grade = async (given: Grade): Promise<void> => {
    if (!card || !cards) return
    const interval = nextInterval(card.interval_days ?? 0, given)
    const isLearned = (card.interval_days ?? 0) === 0 && interval > 0
    try {
      await marea.batch((batch) => {
        batch.table('words').update(card.id, { interval_days: interval, due_on: dueOn(interval) })
        batch.table('words').add(card.id, { times_seen: 1, times_right: given === 'again' ? 0 : 1 })
      })
    } catch (error) {
      return tell(error instanceof Error ? error.message : t.log.problem)
    }
    const rest = cards.slice(1)
    // What was not known comes once more before the end.
    const next = interval === 0 ? [...rest, { ...card, interval_days: 0 }] : rest
    setShown(false)
    setCards(next)
    const [allReviewed, allLearned] = [reviewed + (interval === 0 ? 0 : 1), learned + (isLearned ? 1 : 0)]
    setReviewed(allReviewed)
    setLearned(allLearned)
    if (next.length > 0) return
    await record({ session_type: 'vocabulary', duration_minutes: minutesSince(startedMs), vocabulary_learned: allLearned, session_data: { reviewed: allReviewed } })
  }

  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      const given = GRADES[Number(event.key) - 1]
      if (!shown || !given || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      void grade(given)
    }
    addEventListener('keydown', pressed)
    return () => removeEventListener('keydown', pressed)
  })

  if (!cards) return <div className="page" />
  if (!card) {
    return (
      <div className="page">
        <h1 className="unseen">{t.review.title}</h1>
        <Empty
          icon={reviewed > 0 ? 'check' : 'words'}
          title={reviewed > 0 ? t.review.finished(reviewed) : t.review.nothing}
          text={reviewed > 0 ? t.review.finishedText(learned) : t.review.nothingText}
        >
          <a className="button primary" href={hrefOf('words')} data-testid="review-done">
            {t.review.back}
          </a>
        </Empty>
      </div>
    )
  }
  return (
    <div className="page review">
      <div className="title-row">
        <h1>{t.review.title}</h1>
        <p className="soft" data-testid="cards-left">
          {t.review.left(cards.length)}
        </p>
      </div>
      <section className="card flash" aria-live="polite">
        <p className="flash-word" lang={card.language} data-testid="card-word">
          {card.word}
        </p>
        {shown && <p className="flash-meaning">{card.meaning}</p>}
      </section>
      {shown ? (
        <div className="grades" role="group" aria-label={t.review.how}>
          {GRADES.map((given, index) => (
            <button key={given} type="button" className="grade" data-grade={given} autoFocus={given === 'good'} onClick={() => void grade(given)} data-testid={`grade-${given}`}>
              <kbd aria-hidden="true">{index + 1}</kbd>
              <span>{t.review.grades[given]}</span>
              <small>{t.review.pause(nextInterval(card.interval_days ?? 0, given))}</small>
            </button>
          ))}
        </div>
      ) : (
        <button ref={reveal} type="button" className="button primary wide" onClick={() => setShown(true)} data-testid="show-answer">
          {t.review.show}
          <Icon name="arrow" />
        </button>
      )}
      <p className="soft hint">{t.review.keys}</p>
    </div>
  )
}
