// An app's changes of mirrored tables, on their way into a write: each gets its ids here, in the page, so that it is done once
// however many leaders it is sent to.

import type { KnownTable } from './catalogue.js'
import { readable, refusal } from './check-kinds.js'
import { changeKind, rowKey, rowValues, tableName } from './check-tables.js'
import { makeWriteId } from './ids.js'
import type { TableChange } from './types.js'

export type ChangeKind = TableChange['kind']

/** What is asked for, as the app says it. */
export interface Asked {
  kind: ChangeKind
  table: string
  key: unknown
  values: unknown
}

/** A change with its ids. `table` is what the catalogue says of it; without it the engine says that there is none. */
export function makeChange(
  { kind: asked, table: name, key, values }: Asked,
  table: KnownTable | undefined,
  userId: string,
): Omit<TableChange, 'id'> {
  const kind = changeKind(asked, 'op') as ChangeKind
  const change = { kind, table: tableName(name, 'table') as string }
  const read = (): Record<string, unknown> => readable(name, () => rowValues(values, name, table?.columns))
  if (kind === 'insert') {
    const { [table?.key ?? '']: given = null, ...others } = read()
    return { ...change, key: table ? keyOf(table, given, userId) : null, values: others }
  }
  return { ...change, key: rowKey(key, `${name}.key`) as string, values: kind === 'delete' ? {} : read() }
}

function keyOf(table: KnownTable, given: unknown, userId: string): string {
  const path = `${table.name}.${table.key}`
  if (given !== null) return rowKey(given, path) as string
  if (table.owner === table.key) return userId.toLowerCase()
  if (table.columns.get(table.key)?.type === 'uuid') return makeWriteId()
  throw refusal(path, 'is missing: it is the row\'s key, and no uuid that could be made here')
}
