// One mirrored table as an app holds it. A change is durable on the device when its promise resolves, and sent later.

import type { ChangeKind } from './changes.js'
import type { ListQuery, TableTypes, Where } from './schema.js'
import type { Tables } from './tables.js'
import type { Recorded } from './types.js'
import type { ErrorListener, Listener } from './watch.js'

/** What can be done with one mirrored table. Made by `marea.table`. */
export class MirroredTable<T extends TableTypes> {
  readonly #tables: Tables
  /** The table's name. */
  readonly name: string

  /** @internal */
  constructor(tables: Tables, name: string) {
    this.#tables = tables
    this.name = name
  }

  /**
   * Writes a row. Resolves with its key, which is made here where the table's key is a uuid and none is given. A row that is
   * there already is merged with: what is set once and what its counters have stay as they are.
   */
  async insert(values: T['Insert']): Promise<string> {
    return (await this.#change('insert', null, values)).key
  }

  /** Sets columns of a row; those that are left out stay as they are. For each column the last writer wins. */
  update(key: string, values: T['Update']): Promise<Recorded> {
    return this.#change('update', key, values)
  }

  /** Adds to counters of a row. However many devices add, every addition counts, once. */
  add(key: string, amounts: T['Add']): Promise<Recorded> {
    return this.#change('add', key, amounts)
  }

  /** Deletes a row. No update brings it back, also not one that another device makes later. */
  delete(key: string): Promise<Recorded> {
    return this.#change('delete', key, {})
  }

  /** One row; null when this device has none with this key. */
  get(key: string): Promise<T['Row'] | null> {
    return this.#tables.row(this.name, key)
  }

  /** Rows: the first 100 by their keys, unless the query says otherwise. */
  list(query: ListQuery<T['Row']> = {}): Promise<T['Row'][]> {
    return this.#tables.list(this.name, query)
  }

  /** How many rows there are. */
  count(where: Where<T['Row']> = {}): Promise<number> {
    return this.#tables.count(this.name, where)
  }

  /** Calls `listener` with these rows as they are, and after every change in any tab. Returns how to stop. */
  watch(query: ListQuery<T['Row']>, listener: Listener<T['Row'][]>, onError?: ErrorListener): () => void {
    return this.#tables.watchList(this.name, query, listener, onError)
  }

  /** Calls `listener` with this row (null when there is none) as it is, and after every change. Returns how to stop. */
  watchRow(key: string, listener: Listener<T['Row'] | null>, onError?: ErrorListener): () => void {
    return this.#tables.watchRow(this.name, key, listener, onError)
  }

  #change(kind: ChangeKind, key: string | null, values: unknown): Promise<Recorded> {
    return this.#tables.change({ kind, table: this.name, key, values })
  }
}
