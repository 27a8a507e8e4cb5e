// Files to take along: made here, with or without a network; sent when there is one, and known on all devices.

import type { Export, FileView } from '@marea/client'
import { useExports, useFiles } from '@marea/client/react'
import { useState } from 'react'
import type { FormEvent } from 'react'
import { download, EXPORT_FORMATS, EXPORT_KINDS, fileName } from '../file'
import type { ExportFormat, ExportKind } from '../file'
import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { Empty } from '../parts/Empty'
import { Icon } from '../parts/Icon'
import { Segments } from '../parts/Segments'
import { Sure } from '../parts/Sure'

export function Exports() {
  const { t } = useSpeech()
  const { marea, session, tell } = useLearner()
  const [kind, setKind] = useState<ExportKind>('words')
  const [format, setFormat] = useState<ExportFormat>('csv')
  const { data: page } = useExports({ limit: 50 })
  const { data: files } = useFiles()

  const make = async (event: FormEvent): Promise<void> => {
    event.preventDefault()
    try {
      // Loaded when the first file is made.
      const { createExportFile } = await import('@marea/client/writers')
      await createExportFile(marea, { type: kind, format, byteOrderMark: format === 'csv' })
      tell(t.kept)
    } catch (error) {
      tell(error instanceof Error ? error.message : t.log.problem)
    }
  }

  return (
    <div className="page">
      <h1>{t.exports.title}</h1>
      <p className="lead">{t.exports.lead}</p>
      {session.guest ? (
        <Empty icon="exports" title={t.signIn.needed} text={t.signIn.neededText} />
      ) : (
        <form className="card stack" onSubmit={(event) => void make(event)}>
          <Segments<ExportKind> legend={t.exports.what} name="export" value={kind} onChoose={setKind} choices={EXPORT_KINDS.map((id) => ({ id, name: t.exports.kinds[id] }))} />
          <Segments<ExportFormat> legend={t.exports.format} name="format" value={format} onChoose={setFormat} choices={EXPORT_FORMATS.map((id) => ({ id, name: t.exports.formats[id] }))} />
          <button className="button primary" data-testid="make-export">
            {t.exports.make}
          </button>
        </form>
      )}
      <h2>{t.exports.made}</h2>
      {!session.guest && page?.exports.length === 0 && <Empty icon="exports" title={t.exports.empty} text={t.exports.emptyText} />}
      <ul className="rows">
        {page?.exports.map((made) => <Made key={made.id} made={made} file={files?.find((file) => file.export_id === made.id)} />)}
      </ul>
    </div>
  )
}

function Made({ made, file }: { made: Export; file: FileView | undefined }) {
  const { t, language } = useSpeech()
  const { marea, tell } = useLearner()
  const kind = (t.exports.kinds as Record<string, string>)[made.export_type] ?? made.export_type
  const failed = (error: Error): void => tell(error.message)
  const sent = file === undefined ? made.file_url != null : file.state === 'uploaded'
  return (
    <li className="row" data-testid="export" data-sent={sent}>
      <span className="row-main">
        <span className="row-title">
          {kind} <small>{made.export_format.toUpperCase()}</small>
        </span>
        <span className="soft">
          {made.created_at && new Date(made.created_at).toLocaleString(language, { dateStyle: 'medium', timeStyle: 'short' })}
          {made.records_count != null && ` · ${t.exports.rows(made.records_count)}`}
          {` · ${stateText(file, sent, t)}`}
        </span>
        {file?.state === 'uploading' && <progress max={file.size} value={file.sent} aria-label={`${kind}: ${stateText(file, sent, t)}`} />}
      </span>
      <span className="row-buttons">
        {file && <Transfer file={file} />}
        {(sent || file?.on_device) && (
          <button
            type="button"
            className="button small"
            onClick={() => void marea.exportFile(made.id).then((blob) => download(blob, fileName(made.export_type, made.export_format)), failed)}
            data-testid="download"
          >
            <Icon name="exports" />
            {t.exports.download}
          </button>
        )}
        <Sure iconOnly name={t.remove} question={`${t.remove}?`} onSure={() => void marea.deleteExport(made.id).catch(failed)} />
      </span>
    </li>
  )
}

/** What a person may ask of a file that is not on the server yet. */
function Transfer({ file }: { file: FileView }) {
  const { t } = useSpeech()
  const { marea, tell } = useLearner()
  const ask = (call: (id: string) => Promise<void>) => () => void call(file.export_id).catch((error: Error) => tell(error.message))
  if (file.state === 'refused') {
    return (
      <button type="button" className="button small" onClick={ask((id) => marea.retryFile(id))} data-testid="retry-file">
        {t.exports.retry}
      </button>
    )
  }
  if (file.state !== 'waiting' && file.state !== 'uploading') return null
  return (
    <button type="button" className="button small quiet" onClick={ask((id) => marea.pauseFile(id, !file.paused))} data-testid="pause-file">
      {file.paused ? t.exports.resume : t.exports.pause}
    </button>
  )
}

function stateText(file: FileView | undefined, sent: boolean, t: ReturnType<typeof useSpeech>['t']): string {
  if (sent) return t.exports.sent
  if (!file) return t.exports.onOther
  if (file.state === 'refused') return file.last_error?.message ?? t.exports.refused
  if (file.paused) return t.exports.paused
  if (file.state === 'uploading') return t.exports.sending(file.size === 0 ? 0 : Math.round((100 * file.sent) / file.size))
  return t.exports.here
}
