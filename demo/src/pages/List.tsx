// One list: its words, how well each is known, and when it comes again.

import type { Row } from '@marea/client'
import { useRow, useTable } from '@marea/client/react'
import { useRef, useState } from 'react'
import type { FormEvent } from 'react'
import { deleteList } from '../collect'
import { noonOf, today } from '../days'
import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { Empty } from '../parts/Empty'
import { Icon } from '../parts/Icon'
import { Sure } from '../parts/Sure'
import { go, hrefOf } from '../route'
import { strengthOf } from '../schedule'

export function List({ id }: { id: string }) {
  const { t } = useSpeech()
  const { marea, tell } = useLearner()
  const { data: list, loading } = useRow('word_lists', id)
  const { data: words } = useTable('words', { where: { list_id: id }, order: ['word'], limit: 1000 })
  const [renaming, setRenaming] = useState(false)
  const failed = (error: Error): void => tell(error.message)

  if (!list) {
    return (
      <div className="page">
        {!loading && (
          <Empty icon="words" title={t.words.gone} text="">
            <a className="button" href={hrefOf('words')}>
              {t.words.all}
            </a>
          </Empty>
        )}
      </div>
    )
  }
  const due = words?.filter((word) => word.due_on === null || word.due_on <= today()).length ?? 0
  const rename = (title: string): void => {
    setRenaming(false)
    if (title.trim() !== '' && title !== list.title) void marea.table('word_lists').update(id, { title: title.trim() }).catch(failed)
  }
  return (
    <div className="page">
      <a className="back" href={hrefOf('words')}>
        <Icon name="back" />
        {t.words.all}
      </a>
      <div className="title-row">
        {renaming ? (
          <Rename title={list.title} onDone={rename} />
        ) : (
          <h1 lang={list.language} data-testid="list-title">
            {list.title}
          </h1>
        )}
        <div className="buttons">
          {!renaming && (
            <button type="button" className="button quiet" onClick={() => setRenaming(true)}>
              <Icon name="pencil" />
              {t.words.rename}
            </button>
          )}
          <Sure name={t.words.deleteList} question={t.words.deleteSure(words?.length ?? 0)} onSure={() => void deleteList(marea, id).then(() => go('words'), failed)} />
          {due > 0 && (
            <a className="button primary" href={hrefOf('review', id)}>
              {t.words.review}
            </a>
          )}
        </div>
      </div>
      <AddWord list={list} />
      {words?.length === 0 && <Empty icon="words" title={t.words.emptyList} text={t.words.emptyListText} />}
      <ul className="rows">
        {words?.map((word) => <Word key={word.id} word={word} language={list.language} />)}
      </ul>
    </div>
  )
}

function Rename({ title, onDone }: { title: string; onDone(title: string): void }) {
  const { t } = useSpeech()
  const [next, setNext] = useState(title)
  return (
    <form className="inline-form" onSubmit={(event) => (event.preventDefault(), onDone(next))}>
      <label className="field">
        {t.words.listName}
        <input value={next} maxLength={80} autoFocus onChange={(event) => setNext(event.target.value)} />
      </label>
      <button className="button primary">{t.save}</button>
    </form>
  )
}

function AddWord({ list }: { list: Row<'word_lists'> }) {
  const { t } = useSpeech()
  const { marea, tell } = useLearner()
  const [word, setWord] = useState('')
  const [meaning, setMeaning] = useState('')
  const first = useRef<HTMLInputElement>(null)
  const add = async (event: FormEvent): Promise<void> => {
    event.preventDefault()
    try {
      await marea.table('words').insert({ list_id: list.id, word: word.trim(), meaning: meaning.trim(), created_at: new Date() })
      setWord('')
      setMeaning('')
      first.current?.focus()
    } catch (error) {
      tell(error instanceof Error ? error.message : t.log.problem)
    }
  }
  return (
    <form className="inline-form" aria-label={t.words.add} onSubmit={(event) => void add(event)}>
      <label className="field">
        {t.words.word}
        <input ref={first} lang={list.language} value={word} maxLength={120} required pattern=".*\S.*" onChange={(event) => setWord(event.target.value)} data-testid="word" />
      </label>
      <label className="field">
        {t.words.meaning}
        <input value={meaning} maxLength={200} onChange={(event) => setMeaning(event.target.value)} data-testid="meaning" />
      </label>
      <button className="button" data-testid="add-word">
        <Icon name="plus" />
        {t.words.addButton}
      </button>
    </form>
  )
}

function Word({ word, language }: { word: Row<'words'>; language: string }) {
  const { t } = useSpeech()
  const { marea, tell } = useLearner()
  const [editing, setEditing] = useState(false)
  const strength = strengthOf(word.interval_days)
  const seen = word.times_seen ?? 0
  const failed = (error: Error): void => tell(error.message)
  if (editing) {
    const save = (event: FormEvent<HTMLFormElement>): void => {
      event.preventDefault()
      const form = new FormData(event.currentTarget)
      setEditing(false)
      const values = { word: String(form.get('word')).trim(), meaning: String(form.get('meaning')).trim() }
      if (values.word !== '') void marea.table('words').update(word.id, values).catch(failed)
    }
    return (
      <li>
        <form className="inline-form" onSubmit={save}>
          <label className="field">
            {t.words.word}
            <input name="word" defaultValue={word.word} maxLength={120} autoFocus lang={language} />
          </label>
          <label className="field">
            {t.words.meaning}
            <input name="meaning" defaultValue={word.meaning ?? ''} maxLength={200} />
          </label>
          <button className="button primary">{t.save}</button>
          <button type="button" className="button" onClick={() => setEditing(false)}>
            {t.cancel}
          </button>
        </form>
      </li>
    )
  }
  return (
    <li className="row word-row" data-testid="word-row">
      <span className="row-main">
        <span className="row-title" lang={language}>
          {word.word}
        </span>
        <span className="soft">{word.meaning}</span>
      </span>
      <span className="strength" title={t.words.strength(strength)}>
        <span className="strength-dots" aria-hidden="true">
          {[1, 2, 3, 4].map((dot) => (
            <i key={dot} data-on={dot <= strength || undefined} />
          ))}
        </span>
        <span className="soft">
          {t.words.strength(strength)}
          {seen > 0 && `, ${t.words.seen(seen, word.times_right ?? 0)}`}
        </span>
      </span>
      <span className="soft row-due">{dueText(word.due_on, t)}</span>
      <span className="row-buttons">
        <button type="button" className="icon-button" aria-label={`${t.edit}: ${word.word}`} title={t.edit} onClick={() => setEditing(true)}>
          <Icon name="pencil" />
        </button>
        <button type="button" className="icon-button" aria-label={`${t.remove}: ${word.word}`} title={t.remove} onClick={() => void marea.table('words').delete(word.id).catch(failed)}>
          <Icon name="bin" />
        </button>
      </span>
    </li>
  )
}

function dueText(day: string | null, t: ReturnType<typeof useSpeech>['t']): string {
  const days = day === null ? 0 : Math.round((noonOf(day).getTime() - noonOf(today()).getTime()) / 86_400_000)
  return days <= 0 ? t.words.dueNow : t.words.dueIn(days)
}
