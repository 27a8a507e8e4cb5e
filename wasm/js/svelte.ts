// Svelte's face of the package: a store for each thing that an app shows. `$words` in a component follows it while the component is there.
//
// Nothing here decides anything or keeps a copy of anything: a store follows a `watch*` of the open mirror while somebody has subscribed.

import { getContext, setContext } from 'svelte'
import type { ActivityRange } from './activity.js'
import type { MareaSource, MareaState } from './connection.js'
import { MareaError } from './errors.js'
import * as live from './live.js'
import type { Follow, Live, MareaGiven } from './live.js'
import type { Queue, QueueOptions } from './marea.js'
import type { ListQuery, QueryParameter, QueryRow, RegisteredSchema, Row, TableName } from './schema.js'
import type { ActivityDay, ClientStatus, ExportPage, ExportQuery, FileView, KeysStatus, Progress } from './types.js'

export type { Live, MareaGiven }

/** A store, as Svelte has them. */
export interface LiveStore<T> {
  subscribe(listener: (value: T) => void): () => void
}

const KEY = Symbol.for('@marea/client:svelte')

/** Gives this component and those below it a mirror: an open one, or what has one open (`openWithSupabase`). */
export function provideMarea(source: MareaGiven): void {
  setContext(KEY, live.sourceOf(source))
}

function useSource(): MareaSource {
  const source = getContext<MareaSource>(KEY)
  if (!source) throw new MareaError('invalid_input', 'This needs provideMarea in a component above.', false)
  return source
}

/** The state of the mirror, and the mirror once it is open: `$state.marea`. */
export function useMarea(): LiveStore<MareaState> & { retry(): void } {
  const source = useSource()
  return {
    subscribe(listener) {
      const stop = source.subscribe(() => listener(source.state))
      listener(source.state)
      return stop
    },
    retry: source.retry,
  }
}

/** A store of what `follow` follows. */
export function useLive<T>(follow: Follow<T>): LiveStore<Live<T>> {
  const source = useSource()
  return {
    subscribe(listener) {
      // A store says at once what it has.
      listener(live.NOT_READ)
      return live.followLive(source, follow, listener)
    },
  }
}

type Tables = TableName<RegisteredSchema>

/** The learner's progress: what the server confirmed, with this device's unsent work on top. */
export const useProgress = (): LiveStore<Live<Progress>> => useLive(live.progress)
/** The learner's days with activity: `{ days: 7 }`, which moves on at midnight, or `{ from, to }`. */
export const useActivity = (range: ActivityRange): LiveStore<Live<ActivityDay[]>> => useLive(live.activity(range))
/** How much waits, whether the server can be reached, what went wrong last. Offline is a state, not an error. */
export const useSyncStatus = (): LiveStore<Live<ClientStatus>> => useLive(live.status)
/** How much waits for the server and how much it refused, and the first of each. */
export const useQueue = (options: QueueOptions = {}): LiveStore<Live<Queue>> => useLive(live.queue(options))
/** A page of the learner's exports, newest first. */
export const useExports = (query: ExportQuery = {}): LiveStore<Live<ExportPage>> => useLive(live.exportPage(query))
/** The files of exports on this device, each with how far it is. */
export const useFiles = (): LiveStore<Live<FileView[]>> => useLive(live.files)
/** Whether the vault is open, and which API keys there are. */
export const useApiKeys = (): LiveStore<Live<KeysStatus>> => useLive(live.apiKeys)
/** The rows of a mirrored table that the query asks for. */
export const useTable = <N extends Tables>(name: N, query: ListQuery<Row<N>> = {}): LiveStore<Live<Row<N>[]>> => useLive(live.table(name, query))
/** One row of a mirrored table; null while there is none. */
export const useRow = <N extends Tables>(name: N, key: string): LiveStore<Live<Row<N> | null>> => useLive(live.row(name, key))
/** What a query over the mirrored tables gives. */
export const useQuery = <R extends object = QueryRow>(sql: string, parameters: readonly QueryParameter[] = []): LiveStore<Live<R[]>> =>
  useLive(live.query<R>(sql, parameters))
