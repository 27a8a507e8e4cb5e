// A hook for each thing that an app shows. Each gives `{ data, error }`, and renders again when the value changes,
// whoever changed it: this component, another tab, or the server.

import { useMemo, useSyncExternalStore } from 'react'
import type { Queue, QueueOptions } from '../marea.js'
import type { ListQuery, QueryParameter, QueryRow, RegisteredSchema, Row, TableName } from '../schema.js'
import type { ActivityRange } from '../activity.js'
import type { ActivityDay, ClientStatus, ExportPage, ExportQuery, FileView, KeysStatus, Progress } from '../types.js'
import type { Listener } from '../watch.js'
import { useMareaState, useSource } from './context.js'
import { EMPTY, NOT_READ, storeOf } from './live.js'
import type { Follow, Live, Store } from './live.js'

function useLive<T>(key: string, follow: Follow<T>): Live<T> {
  const { marea } = useMareaState(useSource())
  // Kept from the first rendering on: until it is followed it may make room for others.
  const store: Store<T> = useMemo(() => (marea ? storeOf(marea, key, follow) : EMPTY), [marea, key])
  return useSyncExternalStore(store.subscribe, store.getSnapshot, () => NOT_READ)
}

/** The learner's progress: what the server confirmed, with this device's unsent work on top. */
export function useProgress(): Live<Progress> {
  return useLive('progress', (marea, listener, onError) => marea.watchProgress(listener, onError))
}

/**
 * The learner's days with activity, oldest first: of the last so many days (`{ days: 7 }`, today included, and moving on
 * at midnight), or of a range (`{ from: '2026-11-01', to: '2026-11-30' }`, both included).
 */
export function useActivity(range: ActivityRange): Live<ActivityDay[]> {
  return useLive(nameOf(range), (marea, listener, onError) => marea.watchActivity(range, listener, onError))
}

/** How much waits, whether the server can be reached, what went wrong last. Offline is a state, not an error. */
export function useSyncStatus(): Live<ClientStatus> {
  return useLive('status', (marea, listener, onError) => marea.watchStatus(listener, onError))
}

/** A page of the learner's exports, newest first. Hand its `next` to another query as `after`. */
export function useExports(query: ExportQuery = {}): Live<ExportPage> {
  return useLive(`exports:${keyOf(query)}`, (marea, listener, onError) => marea.watchExports(query, listener, onError))
}

/**
 * The rows of a mirrored table that the query asks for, and again after every change of it. The query may be written in place: what
 * counts is what it says.
 */
export function useTable<N extends TableName<RegisteredSchema>>(table: N, query: ListQuery<Row<N>> = {}): Live<Row<N>[]> {
  return useLive(`table:${table}:${keyOf(query)}`, (marea, listener, onError) => marea.table(table).watch(query, listener, onError))
}

/** One row of a mirrored table. `data` is null while there is none with this key; until that is known, `loading` is true. */
export function useRow<N extends TableName<RegisteredSchema>>(table: N, key: string): Live<Row<N>> {
  return useLive(`row:${table}:${key}`, (marea, listener: Listener<Row<N> | null>, onError) => {
    return marea.table(table).watchRow(key, listener, onError)
  }) as Live<Row<N>>
}

/** What a query over the mirrored tables gives, and again after every change of a table. */
export function useQuery<R extends object = QueryRow>(sql: string, parameters: readonly QueryParameter[] = []): Live<R[]> {
  return useLive(`query:${sql}:${keyOf(parameters)}`, (marea, listener, onError) =>
    marea.watchQuery<R>(sql, parameters, listener, onError),
  )
}

/** The same text for the same days, so that components which show them share one reading. */
function nameOf(range: ActivityRange): string {
  // What is no range is told as an error when it is followed: no component fails for it.
  return range?.days === undefined ? `activity:${String(range?.from)}:${String(range?.to)}` : `activity:${String(range.days)}`
}

/** The same text for the same query, in whichever order it was written. */
function keyOf(query: object): string {
  try {
    const entries = Object.entries(query).sort(([one], [other]) => (one < other ? -1 : 1))
    return JSON.stringify(entries, (_, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part))
  } catch {
    // No query at all: reading it says so.
    return 'unreadable'
  }
}

/** How much waits for the server and how much it refused, and the first of each, with the reasons. */
export function useQueue({ limit = 100 }: QueueOptions = {}): Live<Queue> {
  return useLive(`queue:${limit}`, (marea, listener, onError) => marea.watchQueue(listener, onError, { limit }))
}

/** The files of exports on this device, oldest first, each with how far it is: for a progress bar, and for what was refused. */
export function useFiles(): Live<FileView[]> {
  return useLive('files', (marea, listener, onError) => marea.watchFiles(listener, onError))
}

/** Whether the vault is open, and which API keys there are, with a hint of each while it is open. Never the keys themselves. */
export function useApiKeys(): Live<KeysStatus> {
  return useLive('keys', (marea, listener, onError) => marea.keys.watch(listener, onError))
}
