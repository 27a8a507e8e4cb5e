// One value of an open mirror, followed for as long as somebody shows it: what the adapters for frameworks have in common.

import type { ActivityRange } from './activity.js'
import type { MareaSource, MareaState } from './connection.js'
import { MareaError } from './errors.js'
import type { Marea, Queue, QueueOptions } from './marea.js'
import type { ListQuery, QueryParameter, QueryRow, RegisteredSchema, Row, TableName } from './schema.js'
import type { ActivityDay, ClientStatus, ExportPage, ExportQuery, FileView, KeysStatus, Progress } from './types.js'
import type { ErrorListener, Listener } from './watch.js'

/**
 * A value as a component sees it. `data` is null until it has been read once; `error` says why the last reading failed,
 * while `data` stays what was read before.
 */
export interface Live<T> {
  readonly data: T | null
  readonly error: MareaError | null
  /** Whether it has not been read yet, nor found to be unreadable. */
  readonly loading: boolean
}

/** How a value is followed: one of the `watch*` of the mirror. */
export type Follow<T> = (marea: Marea, listener: Listener<T>, onError: ErrorListener) => () => void

export const NOT_READ: Live<never> = { data: null, error: null, loading: true }

/** An open mirror, or something that has one open. */
export type MareaGiven = MareaSource | Marea

export function sourceOf(given: MareaGiven): MareaSource {
  if ('subscribe' in given) return given
  const state: MareaState = { state: 'open', marea: given, error: null }
  return { state, subscribe: () => () => undefined, retry: () => undefined }
}

/** Shows a value of whichever mirror is open. Returns how to stop. */
export function followLive<T>(source: MareaSource, follow: Follow<T>, show: (live: Live<T>) => void): () => void {
  let followed: Marea | null = null
  let stop = (): void => undefined
  const look = (): void => {
    const { marea } = source.state
    if (marea === followed) return
    stop()
    stop = () => undefined
    followed = marea
    show(NOT_READ)
    if (!marea) return
    let data: T | null = null
    const failed = (error: MareaError): void => show({ data, error, loading: false })
    try {
      stop = follow(marea, (value) => show({ data: (data = value), error: null, loading: false }), failed)
    } catch (error) {
      // A wrong argument is shown as any other error: no component fails for it.
      if (!(error instanceof MareaError)) throw error
      failed(error)
    }
  }
  const unsubscribe = source.subscribe(look)
  look()
  return () => {
    unsubscribe()
    stop()
  }
}

export const progress: Follow<Progress> = (marea, ...listeners) => marea.watchProgress(...listeners)
export const status: Follow<ClientStatus> = (marea, ...listeners) => marea.watchStatus(...listeners)
export const apiKeys: Follow<KeysStatus> = (marea, ...listeners) => marea.keys.watch(...listeners)
export const files: Follow<FileView[]> = (marea, ...listeners) => marea.watchFiles(...listeners)
export const activity = (range: ActivityRange): Follow<ActivityDay[]> => (marea, ...listeners) => marea.watchActivity(range, ...listeners)
export const exportPage = (query: ExportQuery): Follow<ExportPage> => (marea, ...listeners) => marea.watchExports(query, ...listeners)
export const queue = (options?: QueueOptions): Follow<Queue> => (marea, ...listeners) => marea.watchQueue(...listeners, options)

export const table =
  <N extends TableName<RegisteredSchema>>(name: N, query: ListQuery<Row<N>>): Follow<Row<N>[]> =>
  (marea, ...listeners) =>
    marea.table(name).watch(query, ...listeners)

export const row =
  <N extends TableName<RegisteredSchema>>(name: N, key: string): Follow<Row<N> | null> =>
  (marea, ...listeners) =>
    marea.table(name).watchRow(key, ...listeners)

export const query =
  <R extends object = QueryRow>(sql: string, parameters: readonly QueryParameter[]): Follow<R[]> =>
  (marea, ...listeners) =>
    marea.watchQuery<R>(sql, parameters, ...listeners)
