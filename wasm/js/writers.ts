// Marea's own exports: files made from the mirror, offline. CSV and JSON Lines for programs, a page with charts for people. The same
// bytes as the desktop writes (native/src/export; tests/fixtures/exports.json is the test of both).
//
// An entry of its own: who asks for no file does not load it.

import type { Marea } from './marea.js'
import type { CatalogueColumn } from './schema.js'
import type { ActivityDay, Progress, Recorded } from './types.js'
import { readExports, readTable } from './writers/read.js'
import { csv, jsonLines } from './writers/text.js'
import { html, daysBefore } from './writers/html.js'

/** What a file is made of, and its form. */
export interface ExportFileOptions {
  /** `progress`, `activity`, `exports`, or the name of a mirrored table. */
  type: string
  format: 'csv' | 'jsonl' | 'html'
  /** Whether a CSV begins with a byte order mark, without which some spreadsheets take it for another encoding. */
  byteOrderMark?: boolean
}

/** A file that was made. */
export interface MadeFile {
  file: Blob
  /** The records in it. */
  records: number
}

/** Records with the same columns. */
export interface Records {
  title: string
  columns: readonly Column[]
  rows: readonly Row[]
}

export type Row = Readonly<Record<string, unknown>>

export interface Column {
  name: string
  /** Its values are numbers, though some are too long for a number of JSON and come as text. */
  isNumber?: boolean
}

const TYPES = { csv: 'text/csv', jsonl: 'application/x-ndjson', html: 'text/html' }

/** Makes a file from the mirror, as of now: without a network, with everything recorded on this device in it. */
export async function makeExportFile(marea: AnyMarea, options: ExportFileOptions): Promise<MadeFile> {
  const { type, format, byteOrderMark = false } = options
  const records = await recordsOf(marea, type)
  const text = await write(marea, records, format, byteOrderMark)
  return { file: new Blob([text], { type: TYPES[format] }), records: records.rows.length }
}

/** The same, as an export: its file is uploaded once there is a network, and its row says how many records there are. */
export async function createExportFile(marea: AnyMarea, options: ExportFileOptions): Promise<Recorded> {
  const { file, records } = await makeExportFile(marea, options)
  const recorded = await marea.createExport({ export_type: options.type, export_format: options.format, file })
  await marea.updateExport(recorded.id, { records_count: records })
  return recorded
}

/** A mirror with whatever tables. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type AnyMarea = Marea<any>

async function write(marea: AnyMarea, records: Records, format: ExportFileOptions['format'], byteOrderMark: boolean): Promise<string> {
  if (format === 'csv') return csv(records, byteOrderMark)
  if (format === 'jsonl') return jsonLines(records)
  const until = marea.today()
  const since = daysBefore(until)
  const [progress, days] = await Promise.all([marea.progress(), marea.activity(since, until)])
  return html(records, progress, days, [since, until])
}

async function recordsOf(marea: AnyMarea, type: string): Promise<Records> {
  switch (type) {
    case 'progress':
      return { title: 'Progress', columns: named(PROGRESS), rows: [row(await marea.progress())] }
    case 'activity':
      return { title: 'Activity', columns: named(ACTIVITY), rows: (await marea.activity('1970-01-01', '9999-12-31')).map(row) }
    case 'exports':
      return { title: 'Exports', columns: named(EXPORTS), rows: (await readExports(marea)).map(row) }
    default: {
      const known = (await marea.catalogue())?.tables.find(({ name }) => name === type)
      // Where there is none, the reading says so.
      const rows = await readTable(marea.table(type), known?.key ?? '')
      return { title: type, columns: known?.columns.map(column) ?? [], rows }
    }
  }
}

const row = (value: object): Row => value as Row
const named = (names: readonly string[]): Column[] => names.map((name) => ({ name }))

const NUMBERS = ['smallint', 'integer', 'bigint', 'numeric', 'real', 'double']
const column = ({ name, type }: CatalogueColumn): Column => ({ name, isNumber: NUMBERS.includes(type) })

const PROGRESS: (keyof Progress)[] = [
  'total_sessions',
  'total_time_spent_minutes',
  'total_points',
  'current_streak_days',
  'longest_streak_days',
  'total_questions_answered',
  'total_questions_correct',
  'average_accuracy',
  'average_completion_time_seconds',
  'total_vocabulary_learned',
  'mastered_words_count',
  'learning_words_count',
  'new_words_count',
  'total_descriptions',
  'total_images',
  'achievements',
  'last_activity_at',
  'last_active_on',
  'last_vocabulary_practice_at',
]
const ACTIVITY: (keyof ActivityDay)[] = ['day', 'sessions', 'minutes', 'questions', 'correct', 'words', 'points']
const EXPORTS = [
  'id',
  'export_type',
  'export_format',
  'status',
  'records_count',
  'file_size_bytes',
  'created_at',
  'completed_at',
  'expires_at',
  'error_message',
]
