// Files to take along: made here, with or without a network, and known on all devices.

import type { Export } from '@marea/client'
import { useExports } from '@marea/client/react'
import { useState } from 'react'
import type { FormEvent } from 'react'
import { download, EXPORT_FORMATS, EXPORT_KINDS, fileName, makeFile, mimeOf } from '../file'
import type { ExportFormat, ExportKind } from '../file'
import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { Empty } from '../parts/Empty'
import { Icon } from '../parts/Icon'
import { Segments } from '../parts/Segments'
import { Sure } from '../parts/Sure'

// What an export may carry itself is 64 KiB of JSON; quotes and line ends take two bytes of it.
const MAX_KEPT_BYTES = 64 * 1024 - 100

export function Exports() {
  const { t } = useSpeech()
  const { marea, tell } = useLearner()
  const [kind, setKind] = useState<ExportKind>('words')
  const [format, setFormat] = useState<ExportFormat>('csv')
  const { data: page } = useExports({ limit: 50 })

  const make = async (event: FormEvent): Promise<void> => {
    event.preventDefault()
    try {
      const { text, rows } = await makeFile(marea, kind, format)
      const file = new Blob([text], { type: mimeOf(format) })
      const { key: id } = await marea.createExport({ export_type: kind, export_format: format })
      const fits = new TextEncoder().encode(JSON.stringify(text)).length <= MAX_KEPT_BYTES
      await marea.updateExport(id, { status: 'completed', records_count: rows, file_size_bytes: String(file.size), ...(fits ? { data: { text } } : {}) })
      tell(fits ? t.kept : t.exports.tooLarge)
      if (!fits) download(file, fileName(kind, format))
    } catch (error) {
      tell(error instanceof Error ? error.message : t.log.problem)
    }
  }

  return (
    <div className="page">
      <h1>{t.exports.title}</h1>
      <p className="lead">{t.exports.lead}</p>
      <form className="card stack" onSubmit={(event) => void make(event)}>
        <Segments<ExportKind> legend={t.exports.what} name="export" value={kind} onChoose={setKind} choices={EXPORT_KINDS.map((id) => ({ id, name: t.exports.kinds[id] }))} />
        <Segments<ExportFormat> legend={t.exports.format} name="format" value={format} onChoose={setFormat} choices={EXPORT_FORMATS.map((id) => ({ id, name: id.toUpperCase() }))} />
        <button className="button primary" data-testid="make-export">
          {t.exports.make}
        </button>
      </form>
      <h2>{t.exports.made}</h2>
      {page?.exports.length === 0 && <Empty icon="exports" title={t.exports.empty} text={t.exports.emptyText} />}
      <ul className="rows">
        {page?.exports.map((made) => <Made key={made.id} made={made} />)}
      </ul>
    </div>
  )
}

function Made({ made }: { made: Export }) {
  const { t, language } = useSpeech()
  const { marea, tell } = useLearner()
  const kind = (t.exports.kinds as Record<string, string>)[made.export_type] ?? made.export_type
  const text = textOf(made.data)
  const state = (t.exports.status as Record<string, string>)[made.status] ?? made.status
  return (
    <li className="row" data-testid="export">
      <span className="row-main">
        <span className="row-title">
          {kind} <small>{made.export_format.toUpperCase()}</small>
        </span>
        <span className="soft">
          {made.created_at && new Date(made.created_at).toLocaleString(language, { dateStyle: 'medium', timeStyle: 'short' })}
          {made.records_count != null && ` · ${t.exports.rows(made.records_count)}`}
          {` · ${state}`}
        </span>
      </span>
      <span className="row-buttons">
        {text !== null && (
          <button
            type="button"
            className="button small"
            onClick={() => download(new Blob([text], { type: mimeOf(made.export_format) }), fileName(made.export_type, made.export_format))}
            data-testid="download"
          >
            <Icon name="exports" />
            {t.exports.download}
          </button>
        )}
        <Sure iconOnly name={t.remove} question={`${t.remove}?`} onSure={() => void marea.deleteExport(made.id).catch((error: Error) => tell(error.message))} />
      </span>
    </li>
  )
}

function textOf(data: unknown): string | null {
  if (typeof data !== 'object' || data === null || !('text' in data)) return null
  return typeof data.text === 'string' ? data.text : null
}
