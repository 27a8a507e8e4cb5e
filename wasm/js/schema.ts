// The mirrored tables as TypeScript sees them: what an app's schema module says of each, and what is true without one.

/** JSON of the app's own. A member that is `undefined` is one that is not there. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined }

/** A number of `real` or `double precision`; the three that JSON does not have are text. */
export type Float = number | 'NaN' | 'Infinity' | '-Infinity'

/**
 * What the server says of its mirrored tables: `schema` of the module that `npx marea-client schema` writes, or its `.json`.
 * Opaque to an app.
 */
export interface Catalogue {
  readonly version: number
  readonly hash: string
  readonly tables: readonly CatalogueTable[]
  /** What newer servers say beside. */
  readonly [member: string]: unknown
}

export interface CatalogueTable {
  readonly name: string
  readonly schema?: string
  readonly key: string
  readonly owner?: string
  readonly write?: boolean
  readonly columns: readonly CatalogueColumn[]
  readonly [member: string]: unknown
}

export interface CatalogueColumn {
  readonly name: string
  readonly type: string
  readonly rule: string
  readonly nullable?: boolean
  readonly default?: boolean
  readonly max?: number
  readonly precision?: number
  readonly scale?: number
  readonly labels?: readonly string[]
  readonly [member: string]: unknown
}

/** The types of one table. */
export interface TableTypes {
  /** What a row holds. */
  Row: object
  /** What `insert` takes; `never` for a table that only the server writes. */
  Insert: object
  /** What `update` takes. */
  Update: object
  /** What `add` takes: an amount for each counter. */
  Add: object
}

/** A table that no schema module tells of. */
export interface AnyTable {
  Row: { [column: string]: Json }
  Insert: { [column: string]: unknown }
  Update: { [column: string]: unknown }
  Add: { [column: string]: number | string | bigint }
}

/** Tables by name, where there is no schema module. */
export interface AnyTables {
  [table: string]: AnyTable
}

/** A schema module declares its `Schema` here, and everything in the app is typed by it. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type
export interface Register {}

/** The tables of the app: those of its schema module, if there is one. */
export type RegisteredSchema = Register extends { schema: infer S } ? S : AnyTables

export type TableName<S> = keyof S & string
/** The types of one table. */
export type TypesOf<S, N extends keyof S> = S[N] extends TableTypes ? S[N] : AnyTable

type Part<S, N extends keyof S, P extends keyof TableTypes> = S[N] extends { [K in P]: infer T } ? T : never
export type Row<N extends TableName<S>, S = RegisteredSchema> = Part<S, N, 'Row'>
export type Insert<N extends TableName<S>, S = RegisteredSchema> = Part<S, N, 'Insert'>
export type Update<N extends TableName<S>, S = RegisteredSchema> = Part<S, N, 'Update'>
export type Add<N extends TableName<S>, S = RegisteredSchema> = Part<S, N, 'Add'>

/** What a value is compared with. A time may be a `Date`. */
type Operand<V> = V | (V extends string ? Date : never)

/** All that are given must hold. `null` in `ne` is "is not null". */
export interface Comparison<V> {
  readonly gt?: Operand<NonNullable<V>>
  readonly gte?: Operand<NonNullable<V>>
  readonly lt?: Operand<NonNullable<V>>
  readonly lte?: Operand<NonNullable<V>>
  readonly ne?: Operand<V>
  readonly in?: readonly Operand<V>[]
}

/** A column's value, or a comparison; of several columns all must hold. `null` is "is null". */
export type Where<R> = { readonly [C in keyof R]?: Operand<R[C]> | Comparison<R[C]> }

/** Which rows, in which order, and how many. */
export interface ListQuery<R> {
  readonly where?: Where<R>
  /** Columns, the first one first; with `-` in front, the greatest first. The key comes last by itself. */
  readonly order?: readonly ((keyof R & string) | `-${keyof R & string}`)[]
  /** 1 to 1,000, and 100 unless it is given. */
  readonly limit?: number
  /** The key of the last row of the page before. */
  readonly after?: string
}

/** What a parameter of `query` may be: for `?1`, `?2`, ... in the order of the list. */
export type QueryParameter = string | number | bigint | boolean | null | Date

/** A row of a query. An integer beyond 2^53 is text, and bytes are base64. */
export interface QueryRow {
  [column: string]: string | number | null
}
