// A vocabulary trainer: lists, their words, and when each word is due. Typed by the schema module; no type is written here.

import { useMarea, useQuery, useRow, useTable } from '@marea/client/react'
import { useState } from 'react'
import { start } from './start'

const WORDS = ['gato', 'perro', 'pez']

function Lists() {
  const { marea } = useMarea()
  const { data: lists } = useTable('word_lists', { order: ['title'] })
  const [opened, open] = useState<string | null>(null)
  const make = () =>
    marea?.batch((tx) => {
      const list = tx.table('word_lists').insert({ title: 'Animals' })
      for (const word of WORDS) {
        const item = tx.table('vocabulary_items').insert({ list_id: list, word, source: 'starter pack' })
        tx.table('word_reviews').insert({ item_id: item, due_on: '2026-11-23' })
      }
    })
  return (
    <>
      <button id="make" onClick={() => void make()}>
        New list
      </button>
      <output id="lists">{lists?.map(({ title }) => title).join(', ')}</output>
      {lists?.map(({ id, title }) => (
        <button key={id} className="list" onClick={() => open(id)}>
          {title}
        </button>
      ))}
      {opened && <List id={opened} />}
    </>
  )
}

function List({ id }: { id: string }) {
  const { marea } = useMarea()
  const { data: list, loading } = useRow('word_lists', id)
  const { data: items } = useTable('vocabulary_items', { where: { list_id: id }, order: ['word'] })
  const { data: progress } = useQuery<{ due: number; seen: number | null }>(
    `SELECT count(*) FILTER (WHERE r.due_on <= ?2) AS due, sum(r.times_seen) AS seen
     FROM word_reviews r JOIN vocabulary_items i ON i.id = r.item_id WHERE i.list_id = ?1`,
    [id, '2026-11-23'],
  )
  const reviews = marea?.table('word_reviews')
  const see = async () => {
    for (const { id } of (await reviews?.list()) ?? []) await reviews?.add(id, { times_seen: 1, score: '0.25' })
  }
  const review = async () => {
    for (const { id } of (await reviews?.list()) ?? []) await reviews?.update(id, { due_on: '2026-12-01', interval_days: 8, ease: 2.6 })
  }
  if (!list) return <output id="list">{loading ? '' : 'gone'}</output>
  return (
    <>
      <output id="list">{list.title}</output>
      <output id="words">{items?.map(({ word, translation }) => `${word} ${translation ?? '-'}`).join(', ')}</output>
      <output id="due">{progress?.[0]?.due}</output>
      <output id="seen">{progress?.[0]?.seen}</output>
      <button id="rename" onClick={() => void marea?.table('word_lists').update(id, { title: 'Pets' })}>
        Rename
      </button>
      <button id="translate" onClick={() => items?.[0] && void marea?.table('vocabulary_items').update(items[0].id, { translation: 'cat' })}>
        Translate
      </button>
      <button id="see" onClick={() => void see()}>
        Seen
      </button>
      <button id="review" onClick={() => void review()}>
        Reviewed
      </button>
      <button id="remove" onClick={() => void marea?.table('word_lists').delete(id)}>
        Delete
      </button>
    </>
  )
}

start(<Lists />)
