// Kysely over the app's own SQL: queries that are typed by the schema module, run by `marea.query`. It only reads; what is written is
// written by `marea.table`, because a write has a merge rule and goes to the server.

import { SqliteAdapter, SqliteQueryCompiler } from 'kysely'
import type {
  ColumnType,
  CompiledQuery,
  DatabaseConnection,
  DatabaseIntrospector,
  Dialect,
  DialectAdapter,
  Driver,
  QueryCompiler,
  QueryResult,
} from 'kysely'
import { MareaError } from './errors.js'
import type { Marea } from './marea.js'
import type { QueryParameter, RegisteredSchema, TableName, TypesOf } from './schema.js'

/** A value as SQLite has it: true is 1, and what is neither text nor a number is JSON text. */
type Sql<V> = V extends boolean ? 0 | 1 : V extends string | number | null ? V : string

type Columns<R> = { [C in keyof R]: ColumnType<Sql<R[C]>, never, never> }

/** The mirrored tables, for `new Kysely<MareaDatabase>({ dialect: mareaDialect(marea) })`. */
export type MareaDatabase<S = RegisteredSchema> = { [N in TableName<S>]: Columns<TypesOf<S, N>['Row']> }

/** A dialect whose queries read the mirror. */
export function mareaDialect<S>(marea: Marea<S>): Dialect {
  return {
    createAdapter: () => new SqliteAdapter() as DialectAdapter,
    createDriver: () => driverOf(connectionOf(marea as unknown as Marea)),
    createIntrospector: () => introspectorOf(marea as unknown as Marea),
    createQueryCompiler: () => new SqliteQueryCompiler() as QueryCompiler,
  }
}

const READS = ['SelectQueryNode', 'RawNode', 'SetOperationNode']

function connectionOf(marea: Marea): DatabaseConnection {
  return {
    async executeQuery<R>({ query, sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
      if (!READS.includes(query.kind)) throw refused(query.kind.replace(/(Query)?Node$/, ''))
      return { rows: (await marea.query(sql, parameters as QueryParameter[])) as R[] }
    },
    // eslint-disable-next-line require-yield
    async *streamQuery() {
      throw refused('stream')
    },
  }
}

function driverOf(connection: DatabaseConnection): Driver {
  const done = (): Promise<void> => Promise.resolve()
  const none = (): Promise<void> => Promise.reject(refused('transaction'))
  return {
    init: done,
    acquireConnection: () => Promise.resolve(connection),
    beginTransaction: none,
    commitTransaction: none,
    rollbackTransaction: none,
    releaseConnection: done,
    // The mirror is the app's, and stays open.
    destroy: done,
  }
}

function introspectorOf(marea: Marea): DatabaseIntrospector {
  return {
    getSchemas: () => Promise.resolve([]),
    async getTables() {
      const catalogue = marea.schema ?? (await marea.catalogue())
      return (catalogue?.tables ?? []).map(({ name, columns }) => ({
        name,
        isView: true,
        isForeign: false,
        columns: columns.map(({ name, type, nullable, default: filled }) => {
          return { name, dataType: type, isNullable: nullable ?? true, isAutoIncrementing: false, hasDefaultValue: filled ?? false }
        }),
      }))
    },
    async getMetadata() {
      return { tables: await this.getTables() }
    },
  }
}

function refused(what: string): MareaError {
  return new MareaError('query_refused', `${what}: a query only reads the mirror; write with marea.table(...) or marea.batch(...)`, false)
}
