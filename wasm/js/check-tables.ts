// What is handed to the operations on mirrored tables and to queries: each check gives a copy that is plain JSON. Which columns
// there are, and what each may hold, is the engine's to say, the same on every platform.

import { classOf, formed, integer, json, objectOf, oneOf, record, refusal, text, timeOf, unexpected, uuid } from './check-kinds.js'
import type { Check } from './check-kinds.js'
import type { BatchWrite, TableChange } from './types.js'
import type { CatalogueColumn, ListQuery } from './schema.js'

/** A request never splits a batch, and takes no more mutations than this. */
export const MAX_BATCH = 500

const isTime = (value: unknown): value is Date => classOf(value) === 'Date' && timeOf(value) !== null

/** An instant as rows have it: with six decimals, so that texts compare as times do. */
const instantOf = (date: Date): string => (timeOf(date) ?? '').replace(/Z$/, '000Z')

const named = (what: string): Check => formed(what, (text) => text !== '')
export const tableName = named("a table's name")
export const rowKey: Check = (value, path) => text(named("a row's key, as text")(value, path), path)
export const sqlText: Check = (value, path) => text(named('one SELECT, as text')(value, path), path)

/** JSON has no words for these. */
function numberText(value: unknown): string | null {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : null
}

/** An exact number; of one that JavaScript writes with an exponent, nobody can say which one was meant. */
function decimalText(value: number, path: string): string {
  const text = String(value)
  if (text.includes('e')) throw refusal(path, 'is too great or too small for a number; write it as text')
  return text
}

/**
 * The values of a row as they are sent. What only some columns take (bytes, numbers that JSON does not have) is taken where the
 * column is known to take it.
 */
export function rowValues(value: unknown, path: string, columns?: Map<string, CatalogueColumn>): Record<string, unknown> {
  const copy: Record<string, unknown> = Object.create(null) as Record<string, unknown>
  for (const [name, part] of Object.entries(objectOf(value, path))) {
    if (part !== undefined) copy[text(name, `a column of ${path}`) as string] = columnValue(part, `${path}.${name}`, columns?.get(name)?.type)
  }
  return { ...copy }
}

function columnValue(value: unknown, path: string, type: string | undefined): unknown {
  if (isTime(value)) return instantOf(value)
  if (typeof value === 'bigint' && (type === undefined || type === 'bigint' || type === 'numeric')) return String(value)
  if (value instanceof Uint8Array && type === 'bytea') return base64(value)
  if (type === 'real' || type === 'double') return numberText(value) ?? json(value, path)
  if (type === 'numeric' && typeof value === 'number') return decimalText(value, path)
  return json(value, path)
}

function base64(bytes: Uint8Array): string {
  let binary = ''
  // As many at once as an argument list surely takes.
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192))
  return btoa(binary)
}

/** What a column is compared with. */
const operand: Check = (value, path) => {
  if (isTime(value)) return instantOf(value)
  if (typeof value === 'bigint') return String(value)
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'number') return numberText(value) ?? value
  if (typeof value === 'string') return text(value, path)
  throw unexpected(path, 'text, a number, true, false, null or a comparison', value)
}

const operands: Check = (value, path) => {
  if (!Array.isArray(value)) throw unexpected(path, 'a list', value)
  return Array.from(value, (part, index) => operand(part, `${path}[${index}]`))
}

const COMPARISONS: Record<string, Check> = { gt: operand, gte: operand, lt: operand, lte: operand, ne: operand, in: operands }

const condition: Check = (value, path) => {
  if (classOf(value) !== 'Object') return operand(value, path)
  const given = Object.entries(value as object).filter(([, part]) => part !== undefined)
  if (given.length === 0) throw refusal(path, `compares with nothing; there are ${Object.keys(COMPARISONS).join(', ')}`)
  return Object.fromEntries(
    given.map(([name, part]) => {
      const check = Object.hasOwn(COMPARISONS, name) ? COMPARISONS[name] : undefined
      if (!check) throw refusal(`${path}.${name}`, `is no comparison; there are ${Object.keys(COMPARISONS).join(', ')}`)
      return [name, check(part, `${path}.${name}`)]
    }),
  )
}

export const where: Check = (value, path) => {
  const given = Object.entries(objectOf(value, path)).filter(([, part]) => part !== undefined)
  return Object.fromEntries(given.map(([name, part]) => [text(name, `a column of ${path}`), condition(part, `${path}.${name}`)]))
}

const order: Check = (value, path) => {
  if (!Array.isArray(value)) throw unexpected(path, "a list of columns, each with `-` in front for the greatest first", value)
  return Array.from(value, (part, index) => text(part, `${path}[${index}]`))
}

export const listQuery = record<ListQuery<object>>('a query', { where, order, limit: integer, after: rowKey })

/** The parameters of a query as the text of a JSON list: a big integer would not survive as a number. */
export const parameters: Check = (value, path) => {
  if (typeof value === 'string') return text(value, path)
  if (!Array.isArray(value)) throw unexpected(path, 'a list of parameters', value)
  return `[${Array.from(value, (part, index) => parameter(part, `${path}[${index}]`)).join(',')}]`
}

function parameter(value: unknown, path: string): string {
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'boolean') return value ? '1' : '0'
  if (value === null || isTime(value) || typeof value === 'string' || Number.isFinite(value)) {
    return JSON.stringify(operand(value, path))
  }
  throw unexpected(path, 'text, a number, true, false, null or a Date', value)
}

export const changeKind = oneOf<TableChange['kind']>({ insert: 0, update: 0, add: 0, delete: 0 })

/** A change of a table as it travels; its tab may be of another version. */
export function tableChange(given: unknown, path: string): Omit<TableChange, 'id'> {
  const { kind, table, key, values } = objectOf(given, path)
  const name = tableName(table, 'table') as string
  return {
    kind: changeKind(kind, 'op') as TableChange['kind'],
    table: name,
    key: key === null ? null : (rowKey(key, `${name}.key`) as string),
    values: rowValues(values, name),
  }
}

export function batchWrite({ id, changes }: BatchWrite): BatchWrite {
  if (!Array.isArray(changes)) throw unexpected('changes', 'a list of changes', changes)
  if (changes.length > MAX_BATCH) throw refusal('changes', `a batch has at most ${MAX_BATCH} changes, got ${changes.length}`)
  const checked = changes.map((change, index) => tableChange(change, `changes[${index}]`))
  return { kind: 'batch', id: uuid(id, 'id') as string, changes: checked }
}
