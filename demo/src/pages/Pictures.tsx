// All pictures, with what the learner has done with each.

import { useQuery } from '@marea/client/react'
import { pictures } from '../content'
import { useSpeech } from '../language'
import { hrefOf } from '../route'

export function Pictures() {
  const { t, language, target } = useSpeech()
  const { data: texts } = useQuery<{ picture: string; texts: number }>('SELECT picture, count(*) AS texts FROM descriptions GROUP BY picture')
  const { data: words } = useQuery<{ picture: string; words: number }>(
    `SELECT w.picture, count(*) AS words FROM words w JOIN word_lists l ON l.id = w.list_id
     WHERE w.picture IS NOT NULL AND l.language = ?1 GROUP BY w.picture`,
    [target],
  )
  return (
    <div className="page">
      <h1>{t.pictures.title}</h1>
      <p className="lead">{t.pictures.lead}</p>
      <ul className="gallery">
        {pictures.map((picture) => (
          <li key={picture.id}>
            <a className="card" href={hrefOf('pictures', picture.id)}>
              <img src={picture.source} alt="" width={480} height={320} loading="lazy" />
              <span className="gallery-title" lang={target}>
                {picture.title[target]}
              </span>
              <span className="soft">{picture.title[language]}</span>
              <span className="gallery-done">
                {t.pictures.texts(texts?.find((row) => row.picture === picture.id)?.texts ?? 0)}
                {' · '}
                {t.pictures.collected(words?.find((row) => row.picture === picture.id)?.words ?? 0, picture.words.length)}
              </span>
            </a>
          </li>
        ))}
      </ul>
    </div>
  )
}
