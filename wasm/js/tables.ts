// The mirrored tables of an open mirror: how their changes become writes, and how they are read. What an app holds of it is in
// table.ts and batch.ts.

import { KnownCatalogue } from './catalogue.js'
import { makeChange } from './changes.js'
import type { Asked } from './changes.js'
import { checkArguments } from './check.js'
import { MareaError } from './errors.js'
import { makeWriteId } from './ids.js'
import { BUILT_IN, EVERY_TABLE, SOME_TABLE, tableTopic } from './protocol.js'
import type { Topic } from './protocol.js'
import type { Catalogue, ListQuery, QueryParameter, QueryRow, Where } from './schema.js'
import type { Access } from './access.js'
import type { BatchWrite, Recorded } from './types.js'
import type { ErrorListener, Listener } from './watch.js'
import type { Watches } from './watches.js'

/** What a query may read changes with these. */
const READABLE: Topic[] = [SOME_TABLE, EVERY_TABLE, 'progress', 'activity', 'exports']

export class Tables {
  readonly #access: Access
  readonly #watches: Watches
  readonly #catalogue: KnownCatalogue

  constructor(access: Access, watches: Watches, schema: Catalogue | undefined) {
    this.#access = access
    this.#watches = watches
    this.#catalogue = new KnownCatalogue(schema, () => access.call('catalogue'))
  }

  /** What was learned of the tables may be another by now. */
  catalogueChanged(): void {
    this.#catalogue.refresh()
  }

  async catalogue(): Promise<Catalogue | null> {
    return JSON.parse((await this.#access.call('catalogue')) ?? 'null') as Catalogue | null
  }

  /** Does one change. */
  change(asked: Asked): Promise<Recorded> {
    return this.#catalogue.with([asked.table], async (tables) => {
      const change = makeChange(asked, tables.get(asked.table), this.#access.userId)
      return this.#access.call('write', { ...change, id: makeWriteId() })
    })
  }

  /** Does all of the changes that `collect` asks for, or none; gives the keys of their rows, in order. */
  batch(collect: (add: (asked: Asked) => string) => void | Promise<void>): Promise<string[]> {
    return this.#catalogue.with([], async (tables) => {
      const changes: BatchWrite['changes'] = []
      const add = (asked: Asked): string => {
        const change = makeChange(asked, tables.get(asked.table), this.#access.userId)
        changes.push(change)
        return change.key ?? ''
      }
      await collect(add)
      if (changes.length > 0) await this.#access.call('write', { kind: 'batch', id: makeWriteId(), changes })
      return changes.map(({ key }) => key ?? '')
    })
  }

  async row<R>(table: string, key: string): Promise<R | null> {
    return JSON.parse(await this.#access.call('row', table, key)) as R | null
  }

  async list<R>(table: string, query: ListQuery<R>): Promise<R[]> {
    return JSON.parse(await this.#access.call('list', table, query as ListQuery<object>)) as R[]
  }

  count<R>(table: string, where: Where<R>): Promise<number> {
    return this.#access.call('count', table, where as Where<object>)
  }

  async query<R>(sql: string, given: readonly QueryParameter[], read?: (tables: string[]) => void): Promise<R[]> {
    const { columns, rows, tables } = JSON.parse(await this.#access.call('query', sql, given as Parameters)) as Answer
    read?.(tables)
    const twice = columns.find((column, index) => columns.indexOf(column) < index)
    if (twice !== undefined) {
      throw new MareaError('invalid_input', `sql: two columns of the result are called ${twice}; name one of them with AS`, false)
    }
    return rows.map((row) => Object.fromEntries(row.map((value, index) => [columns[index], value]))) as R[]
  }

  /** With nobody to be told later, wrong arguments are told now. */
  watchList<R>(table: string, query: ListQuery<R>, listener: Listener<R[]>, onError?: ErrorListener): () => void {
    if (!onError) checkArguments('list', [table, query])
    return this.#watches.own(topicsOf(table), () => this.list(table, query), listener, onError)
  }

  watchRow<R>(table: string, key: string, listener: Listener<R | null>, onError?: ErrorListener): () => void {
    if (!onError) checkArguments('row', [table, key])
    return this.#watches.own(topicsOf(table), () => this.row<R>(table, key), listener, onError)
  }

  follow(table: string, read: () => Promise<unknown>, onError: ErrorListener): () => void {
    return this.#watches.own(topicsOf(table), read, () => undefined, onError)
  }

  watchQuery<R = QueryRow>(
    sql: string,
    given: readonly QueryParameter[],
    listener: Listener<R[]>,
    onError?: ErrorListener,
  ): () => void {
    if (!onError) checkArguments('query', [sql, given])
    // Until it is known which tables it reads.
    const topics = [...READABLE]
    const read = (tables: string[]): void => void topics.splice(0, topics.length, EVERY_TABLE, ...tables.flatMap(topicsOf))
    return this.#watches.own(topics, () => this.query<R>(sql, given, read), listener, onError)
  }
}

/** As they are given; they are checked, and made a text, with all arguments. */
type Parameters = readonly QueryParameter[] & string

/** A query's answer. */
interface Answer {
  columns: string[]
  rows: unknown[][]
  /** Those that it was read from. */
  tables: string[]
}

const topicsOf = (table: string): Topic[] => [...(BUILT_IN[table] ?? [tableTopic(table)]), EVERY_TABLE]
