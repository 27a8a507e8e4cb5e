// The learner's lists of words, and what is due.

import { useQuery, useTable } from '@marea/client/react'
import { useState } from 'react'
import type { FormEvent } from 'react'
import { today } from '../days'
import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { Empty } from '../parts/Empty'
import { Icon } from '../parts/Icon'
import { go, hrefOf } from '../route'
import { KNOWN_DAYS } from '../schedule'

interface Counts {
  list_id: string
  words: number
  due: number
  known: number
}

export function Words() {
  const { t } = useSpeech()
  const { data: lists } = useTable('word_lists', { order: ['title'], limit: 500 })
  const { data: counts } = useQuery<Counts>(
    `SELECT list_id, count(*) AS words, count(*) FILTER (WHERE due_on IS NULL OR due_on <= ?1) AS due,
       count(*) FILTER (WHERE interval_days >= ?2) AS known
     FROM words GROUP BY list_id`,
    [today(), KNOWN_DAYS],
  )
  const due = (counts ?? []).reduce((sum, row) => sum + row.due, 0)
  return (
    <div className="page">
      <div className="title-row">
        <div>
          <h1>{t.words.title}</h1>
          <p className="lead">{t.words.lead}</p>
        </div>
        {due > 0 && (
          <a className="button primary" href={hrefOf('review')} data-testid="review">
            {t.words.reviewAll(due)}
          </a>
        )}
      </div>
      {lists?.length === 0 && (
        <Empty icon="words" title={t.words.empty} text={t.words.emptyText}>
          <a className="button primary" href={hrefOf('pictures')}>
            {t.pictures.all}
          </a>
        </Empty>
      )}
      <ul className="lists" aria-label={t.words.lists}>
        {lists?.map((list) => {
          const has = counts?.find((row) => row.list_id === list.id)
          return (
            <li key={list.id}>
              <a className="card list-card" href={hrefOf('list', list.id)} data-testid="list">
                <span className="list-main">
                  <span className="list-title" lang={list.language}>
                    {list.title}
                  </span>
                  <span className="soft">
                    {t.words.count(has?.words ?? 0)} · {t.words.known(has?.known ?? 0)}
                  </span>
                </span>
                {(has?.due ?? 0) > 0 && <span className="badge">{t.words.due(has?.due ?? 0)}</span>}
                <Icon name="arrow" />
              </a>
            </li>
          )
        })}
      </ul>
      <NewList />
    </div>
  )
}

function NewList() {
  const { t, target } = useSpeech()
  const { marea, tell } = useLearner()
  const [title, setTitle] = useState('')
  const create = async (event: FormEvent): Promise<void> => {
    event.preventDefault()
    try {
      go('list', await marea.table('word_lists').insert({ title: title.trim(), language: target, created_at: new Date() }))
    } catch (error) {
      tell(error instanceof Error ? error.message : t.log.problem)
    }
  }
  return (
    <form className="inline-form" onSubmit={(event) => void create(event)}>
      <label className="field">
        {t.words.listName}
        <input value={title} maxLength={80} required pattern=".*\S.*" onChange={(event) => setTitle(event.target.value)} data-testid="list-name" />
      </label>
      <button className="button" data-testid="create-list">
        <Icon name="plus" />
        {t.words.newList}
      </button>
    </form>
  )
}
