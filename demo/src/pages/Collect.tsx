// The words of a picture: one press takes one along.

import { useQuery } from '@marea/client/react'
import { collect } from '../collect'
import type { Pair, Picture } from '../content'
import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { Icon } from '../parts/Icon'

export function Collect({ picture }: { picture: Picture }) {
  const { t, language, target } = useSpeech()
  const { marea, tell } = useLearner()
  const { data } = useQuery<{ word: string }>(
    `SELECT w.word FROM words w JOIN word_lists l ON l.id = w.list_id WHERE w.picture = ?1 AND l.language = ?2`,
    [picture.id, target],
  )
  const has = new Set((data ?? []).map((row) => row.word))
  const missing = picture.words.filter((word) => !has.has(word[target]))
  const take = (words: readonly Pair[]): void =>
    void collect(marea, marea.userId, picture, words, target, language).then(
      () => tell(t.kept),
      (error: Error) => tell(error.message),
    )

  return (
    <div className="collect">
      <p className="soft">{t.pictures.collectLead}</p>
      <ul className="word-cards">
        {picture.words.map((word) => {
          const taken = has.has(word[target])
          return (
            <li key={word.en}>
              <button
                type="button"
                className="word-card"
                aria-pressed={taken}
                aria-disabled={taken}
                onClick={() => taken || take([word])}
                data-testid="collect-word"
              >
                <span lang={target}>{word[target]}</span>
                <span className="soft">{word[language]}</span>
                <Icon name={taken ? 'check' : 'plus'} />
              </button>
            </li>
          )
        })}
      </ul>
      <button type="button" className="button primary" disabled={missing.length === 0} onClick={() => take(missing)} data-testid="collect-all">
        {t.pictures.collectAll}
      </button>
    </div>
  )
}
