// What a mutation of a collection is for Marea.

import type { CatalogueTable } from '../schema.js'
import type { CollectionMutation } from './types.js'

/** What is known of a collection's table. */
export interface Described {
  name: string
  key: string
  /** Of a schema module; without one there is none. */
  table: CatalogueTable | undefined
}

/** One change of a batch. */
export interface PlainChange {
  op: 'insert' | 'update' | 'add' | 'delete'
  table: string
  key?: string
  values?: Record<string, unknown>
}

/** A counter that was set is one that was added to: that is how two devices' additions both count. */
export function changesOf({ type, key: given, original, changes }: CollectionMutation, { name, key: keyName, table }: Described): PlainChange[] {
  const key = String(given)
  if (type === 'delete') return [{ op: 'delete', table: name, key }]
  const entries = Object.entries(changes).filter(([, value]) => value !== undefined)
  if (type === 'insert') return [{ op: 'insert', table: name, values: { ...Object.fromEntries(entries), [keyName]: key } }]
  const counters = new Set(table?.columns.filter(({ rule }) => rule === 'counter').map((column) => column.name))
  const before = original as Record<string, unknown>
  const added = entries.filter(([column]) => counters.has(column)).map(([column, value]) => [column, difference(value, before[column] ?? 0)])
  const set = entries.filter(([column]) => !counters.has(column))
  const result: PlainChange[] = []
  if (set.length > 0) result.push({ op: 'update', table: name, key, values: Object.fromEntries(set) })
  if (added.length > 0) result.push({ op: 'add', table: name, key, values: Object.fromEntries(added) as Record<string, unknown> })
  return result
}

/** Exact, also of digits that no number holds. */
function difference(after: unknown, before: unknown): string | number {
  if (typeof after === 'number' && typeof before === 'number' && Number.isInteger(after) && Number.isInteger(before)) return after - before
  const [one, other] = [decimal(after), decimal(before)]
  if (!one || !other) return after as string
  const places = Math.max(one.places, other.places)
  const scaled = ({ digits, places: own }: Decimal): bigint => digits * 10n ** BigInt(places - own)
  const sum = scaled(one) - scaled(other)
  const text = String(sum < 0n ? -sum : sum).padStart(places + 1, '0')
  const whole = text.slice(0, text.length - places)
  return `${sum < 0n ? '-' : ''}${places > 0 ? `${whole}.${text.slice(-places)}` : whole}`
}

interface Decimal {
  digits: bigint
  places: number
}

/** Null for what is no number: the engine says what is wrong with it. */
function decimal(value: unknown): Decimal | null {
  const found = /^(-?)(\d+)(?:\.(\d+))?$/.exec(String(value))
  if (!found) return null
  const [, sign = '', whole = '', part = ''] = found
  return { digits: BigInt(`${sign}${whole}${part}`), places: part.length }
}
