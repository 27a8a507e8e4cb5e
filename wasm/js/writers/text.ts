// CSV (RFC 4180) and JSON Lines.

import type { Column, Records } from '../writers.js'

export function csv({ columns, rows }: Records, byteOrderMark: boolean): string {
  const line = (cells: string[]): string => `${cells.map(quoted).join(',')}\r\n`
  const lines = [line(columns.map(({ name }) => harmless(name))), ...rows.map((row) => line(columns.map((column) => cell(column, row[column.name]))))]
  return (byteOrderMark ? '\ufeff' : '') + lines.join('')
}

export function jsonLines({ columns, rows }: Records): string {
  return rows.map((row) => `${members(columns.map(({ name }) => [name, row[name] ?? null]))}\n`).join('')
}

/** What a cell holds, as text; nothing where there is nothing. */
export function text(value: unknown): string {
  if (value === undefined || value === null) return ''
  return typeof value === 'string' ? value : json(value)
}

/**
 * What somebody wrote must not become what a spreadsheet does: text that begins like a formula gets an apostrophe before it (OWASP,
 * "CSV Injection"). Numbers are left alone, negative ones too.
 */
function cell({ isNumber }: Column, value: unknown): string {
  const found = text(value)
  return isNumber || typeof value === 'number' || typeof value === 'boolean' ? found : harmless(found)
}

const harmless = (found: string): string => (/^[=+\-@\t\r\n＝＋－＠]/.test(found) ? `'${found}` : found)

const quoted = (cell: string): string => (/[,"\r\n;\t]|^ | $/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)

/** JSON without blanks, the keys of objects in the order of their characters. */
function json(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(json).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  return members(Object.entries(value).sort(([one], [other]) => byCharacters(one, other)))
}

const members = (entries: [string, unknown][]): string =>
  `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${json(value)}`).join(',')}}`

/** By whole characters: those beyond the first 65,536 are the last ones, which the halves that JavaScript compares are not. */
function byCharacters(one: string, other: string): number {
  const [left, right] = [Array.from(one), Array.from(other)]
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    const step = left[at]!.codePointAt(0)! - right[at]!.codePointAt(0)!
    if (step !== 0) return step
  }
  return left.length - right.length
}
