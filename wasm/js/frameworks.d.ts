// What of the frameworks the adapters use, and no more: an app has the real ones, and a test app's compiler holds the adapters against them.

declare module 'vue' {
  export interface Ref<T> {
    value: T
  }
  export interface ShallowRef<T> extends Ref<T> {}
  export interface ComputedRef<T> {
    readonly value: T
  }
  export type MaybeRefOrGetter<T> = T | Ref<T> | ComputedRef<T> | (() => T)
  export interface App {
    provide<T>(key: symbol, value: T): App
  }
  export function computed<T>(get: () => T): ComputedRef<T>
  export function inject<T>(key: symbol): T | undefined
  export function provide<T>(key: symbol, value: T): void
  export function shallowRef<T>(value: T): ShallowRef<T>
  export function toValue<T>(given: MaybeRefOrGetter<T>): T
  export function watchEffect(run: (onCleanup: (cleanup: () => void) => void) => void, options: { flush: 'post' }): () => void
}
declare module 'svelte' {
  export function getContext<T>(key: symbol): T | undefined
  export function setContext<T>(key: symbol, value: T): T
}
declare module 'solid-js' {
  export type Accessor<T> = () => T
  export type JSXElement = unknown
  export interface Context<T> {
    id: symbol
    Provider: (props: { value: T; children: unknown }) => unknown
  }
  export function createComponent<P>(component: (props: P) => unknown, props: P): JSX.Element
  export function createContext<T>(): Context<T | undefined>
  export function createEffect(run: () => void): void
  export function createSignal<T>(value: T): [Accessor<T>, (value: T) => void]
  export function onCleanup(cleanup: () => void): void
  export function useContext<T>(context: Context<T>): T
  export namespace JSX {
    type Element = unknown
  }
}
declare module 'kysely' {
  export interface ColumnType<S, I, U> {
    readonly __select__: S
    readonly __insert__: I
    readonly __update__: U
  }
  export interface CompiledQuery {
    readonly query: { readonly kind: string }
    readonly sql: string
    readonly parameters: readonly unknown[]
  }
  export interface QueryResult<R> {
    readonly rows: R[]
  }
  export interface DatabaseConnection {
    executeQuery<R>(compiled: CompiledQuery): Promise<QueryResult<R>>
    streamQuery<R>(compiled: CompiledQuery): AsyncIterableIterator<QueryResult<R>>
  }
  export interface Driver {
    init(): Promise<void>
    acquireConnection(): Promise<DatabaseConnection>
    beginTransaction(): Promise<void>
    commitTransaction(): Promise<void>
    rollbackTransaction(): Promise<void>
    releaseConnection(): Promise<void>
    destroy(): Promise<void>
  }
  interface TableMetadata {
    name: string
    isView: boolean
    isForeign: boolean
    columns: { name: string; dataType: string; isNullable: boolean; isAutoIncrementing: boolean; hasDefaultValue: boolean }[]
  }
  export interface DatabaseIntrospector {
    getSchemas(): Promise<never[]>
    getTables(): Promise<TableMetadata[]>
    getMetadata(): Promise<{ tables: TableMetadata[] }>
  }
  export interface DialectAdapter {
    readonly supportsReturning: boolean
  }
  export interface QueryCompiler {
    compileQuery(...given: never[]): CompiledQuery
  }
  export interface Dialect {
    createAdapter(): DialectAdapter
    createDriver(): Driver
    createIntrospector(): DatabaseIntrospector
    createQueryCompiler(): QueryCompiler
  }
  export class SqliteAdapter {}
  export class SqliteQueryCompiler {}
}
