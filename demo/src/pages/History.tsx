// What was done: sessions and texts, to be looked at again, corrected and deleted, on any device.

import type { Row } from '@marea/client'
import { useTable } from '@marea/client/react'
import { useState } from 'react'
import type { FormEvent } from 'react'
import { pictureOf } from '../content'
import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { Empty } from '../parts/Empty'
import { Icon } from '../parts/Icon'
import { ProgressTabs } from '../parts/ProgressTabs'
import { Sure } from '../parts/Sure'
import { PastSessions } from './Sessions'

const PAGE = 20

export function History() {
  const { t } = useSpeech()
  return (
    <div className="page">
      <h1>{t.progress.title}</h1>
      <ProgressTabs />
      <PastSessions />
      <Texts />
    </div>
  )
}

function Texts() {
  const { t } = useSpeech()
  const [limit, setLimit] = useState(PAGE)
  const { data: texts } = useTable('descriptions', { order: ['-written_at'], limit })
  return (
    <section aria-labelledby="texts-title">
      <h2 id="texts-title">{t.history.texts}</h2>
      {texts?.length === 0 && <Empty icon="pencil" title={t.history.noTexts} text={t.history.noTextsText} />}
      <ul className="texts">
        {texts?.map((text) => <Text key={text.id} text={text} />)}
      </ul>
      {texts?.length === limit && limit < 1000 && (
        <button type="button" className="button" onClick={() => setLimit(Math.min(1000, limit + PAGE))}>
          {t.history.more}
        </button>
      )}
    </section>
  )
}

function Text({ text }: { text: Row<'descriptions'> }) {
  const { t, language, target } = useSpeech()
  const { marea, tell } = useLearner()
  const [editing, setEditing] = useState(false)
  const picture = pictureOf(text.picture)
  const failed = (error: Error): void => tell(error.message)
  const save = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault()
    const body = String(new FormData(event.currentTarget).get('body')).trim()
    setEditing(false)
    if (body !== '' && body !== text.body) void marea.table('descriptions').update(text.id, { body }).catch(failed)
  }
  return (
    <li className="card text" data-testid="text">
      {picture && <img src={picture.source} alt="" width={120} height={80} />}
      <div className="text-main">
        <p className="soft">
          <span lang={target}>{picture?.title[target]}</span>
          {text.written_at && ` · ${new Date(text.written_at).toLocaleString(language, { dateStyle: 'medium', timeStyle: 'short' })}`}
        </p>
        {editing ? (
          <form className="stack" onSubmit={save}>
            <textarea name="body" aria-label={t.history.text} defaultValue={text.body} rows={4} maxLength={2000} lang={target} autoFocus />
            <div className="buttons">
              <button className="button primary">{t.save}</button>
              <button type="button" className="button" onClick={() => setEditing(false)}>
                {t.cancel}
              </button>
            </div>
          </form>
        ) : (
          <p className="text-body" lang={target}>
            {text.body}
          </p>
        )}
      </div>
      {!editing && (
        <div className="row-buttons">
          <button type="button" className="icon-button" aria-label={t.edit} title={t.edit} onClick={() => setEditing(true)}>
            <Icon name="pencil" />
          </button>
          <Sure iconOnly name={t.remove} question={t.history.sureText} onSure={() => void marea.table('descriptions').delete(text.id).catch(failed)} />
        </div>
      )}
    </li>
  )
}
