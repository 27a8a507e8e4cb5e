// Solid's face of the package: one provider, and a function for each thing that an app shows.
//
// Nothing here decides anything or keeps a copy of anything: it follows a `watch*` of the open mirror while the component is there.

import { createComponent, createContext, createEffect, createSignal, onCleanup, useContext } from 'solid-js'
import type { Accessor, JSX } from 'solid-js'
import type { ActivityRange } from './activity.js'
import { OPENING } from './connection.js'
import type { MareaSource, MareaState } from './connection.js'
import { MareaError } from './errors.js'
import * as live from './live.js'
import type { Follow, Live, MareaGiven } from './live.js'
import type { Queue, QueueOptions } from './marea.js'
import type { ListQuery, QueryParameter, QueryRow, RegisteredSchema, Row, TableName } from './schema.js'
import type { ActivityDay, ClientStatus, ExportPage, ExportQuery, FileView, KeysStatus, Progress } from './types.js'

export type { Live, MareaGiven }

const Context = createContext<MareaSource>()

/** Gives the components below it a mirror: an open one, or what has one open (`openWithSupabase`). */
export function MareaProvider(props: { source: MareaGiven; children?: JSX.Element }): JSX.Element {
  const value = live.sourceOf(props.source)
  return createComponent(Context.Provider, {
    value,
    get children() {
      return props.children
    },
  })
}

function useSource(): MareaSource {
  const source = useContext(Context)
  if (!source) throw new MareaError('invalid_input', 'This needs a <MareaProvider> above the component that uses it.', false)
  return source
}

/** The state of the mirror, and the mirror once it is open: `state().marea`. */
export function useMarea(): { readonly state: Accessor<MareaState>; readonly retry: () => void } {
  const source = useSource()
  // A server has no mirror, and the first rendering in a browser must show what the server did.
  const [state, show] = createSignal<MareaState>(OPENING)
  createEffect(() => {
    onCleanup(source.subscribe(() => show(source.state as never)))
    show(source.state as never)
  })
  return { state, retry: source.retry }
}

/** Follows what `follow` says, and another thing as soon as a signal in it is another. */
export function useLive<T>(follow: () => Follow<T>): Live<T> {
  const source = useSource()
  const [now, show] = createSignal<Live<T>>(live.NOT_READ)
  createEffect(() => onCleanup(live.followLive(source, follow(), (next) => show(next as never))))
  return {
    get data() {
      return now().data
    },
    get error() {
      return now().error
    },
    get loading() {
      return now().loading
    },
  }
}

/** An argument, or a function that gives it: then what is shown follows the signals in it. */
export type Given<T> = T | (() => T)
const valueOf = <T>(given: Given<T>): T => (typeof given === 'function' ? (given as () => T)() : given)

type Tables = TableName<RegisteredSchema>

/** The learner's progress: what the server confirmed, with this device's unsent work on top. */
export const useProgress = (): Live<Progress> => useLive(() => live.progress)
/** The learner's days with activity: `{ days: 7 }`, which moves on at midnight, or `{ from, to }`. */
export const useActivity = (range: Given<ActivityRange>): Live<ActivityDay[]> => useLive(() => live.activity(valueOf(range)))
/** How much waits, whether the server can be reached, what went wrong last. Offline is a state, not an error. */
export const useSyncStatus = (): Live<ClientStatus> => useLive(() => live.status)
/** How much waits for the server and how much it refused, and the first of each. */
export const useQueue = (options: QueueOptions = {}): Live<Queue> => useLive(() => live.queue(options))
/** A page of the learner's exports, newest first. */
export const useExports = (query: Given<ExportQuery> = {}): Live<ExportPage> => useLive(() => live.exportPage(valueOf(query)))
/** The files of exports on this device, each with how far it is. */
export const useFiles = (): Live<FileView[]> => useLive(() => live.files)
/** Whether the vault is open, and which API keys there are. */
export const useApiKeys = (): Live<KeysStatus> => useLive(() => live.apiKeys)
/** The rows of a mirrored table that the query asks for. */
export const useTable = <N extends Tables>(name: N, query: Given<ListQuery<Row<N>>> = {}): Live<Row<N>[]> =>
  useLive(() => live.table(name, valueOf(query)))
/** One row of a mirrored table; null while there is none. */
export const useRow = <N extends Tables>(name: N, key: Given<string>): Live<Row<N> | null> => useLive(() => live.row(name, valueOf(key)))
/** What a query over the mirrored tables gives. */
export const useQuery = <R extends object = QueryRow>(sql: Given<string>, parameters: Given<readonly QueryParameter[]> = []): Live<R[]> =>
  useLive(() => live.query<R>(valueOf(sql), valueOf(parameters)))
