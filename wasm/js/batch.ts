// Several changes at once: all of them or none, on the device and on the server.

import type { Asked, ChangeKind } from './changes.js'
import { readable, unexpected } from './check-kinds.js'
import type { Add, AnyTables, Insert, RegisteredSchema, TableName, TableTypes, TypesOf, Update } from './schema.js'
import type { Tables } from './tables.js'

/** One change of a batch, as data. */
export type Change<S = RegisteredSchema> = {
  [N in TableName<S>]:
    | { readonly op: 'insert'; readonly table: N; readonly values: Insert<N, S> }
    | { readonly op: 'update'; readonly table: N; readonly key: string; readonly values: Update<N, S> }
    | { readonly op: 'add'; readonly table: N; readonly key: string; readonly values: Add<N, S> }
    | { readonly op: 'delete'; readonly table: N; readonly key: string }
}[TableName<S>]

/** A table within a batch. Nothing is done before the batch is. */
export interface BatchTable<T extends TableTypes> {
  /** Gives the row's key at once, for the rows that name it. */
  insert(values: T['Insert']): string
  update(key: string, values: T['Update']): void
  add(key: string, amounts: T['Add']): void
  delete(key: string): void
}

/** What collects the changes of a batch. */
export interface Batch<S = RegisteredSchema> {
  table<N extends TableName<S>>(name: N): BatchTable<TypesOf<S, N>>
}

/** Does the changes that a function makes, or that a list has. */
export function runBatch<S>(tables: Tables, changes: ((batch: Batch<S>) => void | Promise<void>) | readonly Change<S>[]): Promise<string[]> {
  return tables.batch((add) => {
    if (typeof changes === 'function') return changes(batchOf(add) as Batch<S>)
    if (!Array.isArray(changes)) throw unexpected('changes', 'a function or a list of changes', changes)
    for (const change of changes as readonly Record<string, unknown>[]) {
      add(readable('changes', () => askedOf(Object(change))))
    }
  })
}

const askedOf = ({ op, table, key, values }: Record<string, unknown>): Asked => {
  return { kind: op as ChangeKind, table: table as string, key, values }
}

function batchOf(add: (asked: Asked) => string): Batch<AnyTables> {
  return {
    table: (table) => ({
      insert: (values) => add({ kind: 'insert', table, key: null, values }),
      update: (key, values) => void add({ kind: 'update', table, key, values }),
      add: (key, values) => void add({ kind: 'add', table, key, values }),
      delete: (key) => void add({ kind: 'delete', table, key, values: {} }),
    }),
  }
}
