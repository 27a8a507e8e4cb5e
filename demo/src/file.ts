// Files made on this device of what the mirror holds.

import type { Marea } from '@marea/client'
import { today } from './days'

export const EXPORT_KINDS = ['words', 'texts', 'activity'] as const
export type ExportKind = (typeof EXPORT_KINDS)[number]
export const EXPORT_FORMATS = ['csv', 'json'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

const QUERIES: Record<ExportKind, string> = {
  words: `SELECT l.title AS list, w.word, w.meaning, w.times_seen, w.times_right, w.interval_days, w.due_on
    FROM words w JOIN word_lists l ON l.id = w.list_id ORDER BY l.title, w.word`,
  texts: 'SELECT written_at, picture, body FROM descriptions ORDER BY written_at',
  activity: 'SELECT day, sessions, minutes, questions, correct, words FROM daily_activity ORDER BY day',
}

export interface MadeFile {
  text: string
  rows: number
}

export async function makeFile(marea: Marea, kind: ExportKind, format: ExportFormat): Promise<MadeFile> {
  const rows = await marea.query(QUERIES[kind])
  return { text: format === 'json' ? JSON.stringify(rows, null, 2) : csvOf(rows), rows: rows.length }
}

function csvOf(rows: readonly Record<string, string | number | null>[]): string {
  const [first] = rows
  if (!first) return ''
  const columns = Object.keys(first)
  return [columns, ...rows.map((row) => columns.map((column) => cellOf(row[column] ?? '')))].map((cells) => cells.join(',')).join('\r\n') + '\r\n'
}

/** RFC 4180. What a spreadsheet would take for a formula is made a text. */
function cellOf(value: string | number): string {
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

export const fileName = (kind: string, format: string): string => `marea-${kind}-${today()}.${format}`

export const mimeOf = (format: string): string => (format === 'json' ? 'application/json' : 'text/csv;charset=utf-8')

/** Hands a file to the person, by the browser's own download. */
export function download(file: Blob, name: string): void {
  const url = URL.createObjectURL(file)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  // The browser has taken the address by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}
