// Vue's face of the package: a function for each thing that an app shows, for `setup`.
//
// Nothing here decides anything or keeps a copy of anything: it follows a `watch*` of the open mirror while the component is there.

import { computed, inject, provide, shallowRef, toValue, watchEffect } from 'vue'
import type { App, ComputedRef, MaybeRefOrGetter, ShallowRef } from 'vue'
import type { ActivityRange } from './activity.js'
import { OPENING } from './connection.js'
import type { MareaSource, MareaState } from './connection.js'
import { MareaError } from './errors.js'
import * as live from './live.js'
import type { Follow, Live, MareaGiven } from './live.js'
import type { Queue, QueueOptions } from './marea.js'
import type { ListQuery, QueryParameter, QueryRow, RegisteredSchema, Row, TableName } from './schema.js'
import type { ActivityDay, ClientStatus, ExportPage, ExportQuery, FileView, KeysStatus, Progress } from './types.js'

export type { MareaGiven, Live }

/** A value that is followed: as {@link Live} has it, each part by itself. */
export interface LiveRefs<T> {
  readonly data: ComputedRef<T | null>
  readonly error: ComputedRef<MareaError | null>
  readonly loading: ComputedRef<boolean>
}

const KEY = Symbol('marea')

/** A server has no mirror, and the first rendering in a browser must show what the server did: effects come after it. */
const IN_A_BROWSER = { flush: 'post' } as const

/** For `app.use(marea, source)`: the whole app has this mirror. */
export const marea = {
  install(app: App, source: MareaGiven): void {
    app.provide(KEY as never, live.sourceOf(source))
  },
}

/** Gives the components below this one a mirror: an open one, or what has one open (`openWithSupabase`). */
export function provideMarea(source: MareaGiven): void {
  provide(KEY as never, live.sourceOf(source))
}

function useSource(): MareaSource {
  const source = inject<MareaSource>(KEY as never)
  if (!source) throw new MareaError('invalid_input', 'This needs app.use(marea, source), or provideMarea above the component.', false)
  return source
}

/** The state of the mirror, and the mirror once it is open: `state.value.marea`. */
export function useMarea(): { readonly state: ShallowRef<MareaState>; readonly retry: () => void } {
  const source = useSource()
  const state = shallowRef<MareaState>(OPENING)
  const show = (): void => void (state.value = source.state)
  watchEffect((onCleanup) => {
    onCleanup(source.subscribe(show))
    show()
  }, IN_A_BROWSER)
  return { state, retry: source.retry }
}

/** Follows what `follow` says, and another thing as soon as what it is made of is another. */
export function useLive<T>(follow: () => Follow<T>): LiveRefs<T> {
  const source = useSource()
  const now = shallowRef<Live<T>>(live.NOT_READ)
  watchEffect((onCleanup) => onCleanup(live.followLive(source, follow(), (next) => (now.value = next))), IN_A_BROWSER)
  return { data: computed(() => now.value.data), error: computed(() => now.value.error), loading: computed(() => now.value.loading) }
}

type Given<T> = MaybeRefOrGetter<T>
type Tables = TableName<RegisteredSchema>

/** The learner's progress: what the server confirmed, with this device's unsent work on top. */
export const useProgress = (): LiveRefs<Progress> => useLive(() => live.progress)
/** The learner's days with activity: `{ days: 7 }`, which moves on at midnight, or `{ from, to }`. */
export const useActivity = (range: Given<ActivityRange>): LiveRefs<ActivityDay[]> => useLive(() => live.activity(toValue(range)))
/** How much waits, whether the server can be reached, what went wrong last. Offline is a state, not an error. */
export const useSyncStatus = (): LiveRefs<ClientStatus> => useLive(() => live.status)
/** How much waits for the server and how much it refused, and the first of each. */
export const useQueue = (options: QueueOptions = {}): LiveRefs<Queue> => useLive(() => live.queue(options))
/** A page of the learner's exports, newest first. */
export const useExports = (query: Given<ExportQuery> = {}): LiveRefs<ExportPage> => useLive(() => live.exportPage(toValue(query)))
/** The files of exports on this device, each with how far it is. */
export const useFiles = (): LiveRefs<FileView[]> => useLive(() => live.files)
/** Whether the vault is open, and which API keys there are. */
export const useApiKeys = (): LiveRefs<KeysStatus> => useLive(() => live.apiKeys)
/** The rows of a mirrored table that the query asks for. */
export const useTable = <N extends Tables>(name: N, query: Given<ListQuery<Row<N>>> = {}): LiveRefs<Row<N>[]> =>
  useLive(() => live.table(name, toValue(query)))
/** One row of a mirrored table; null while there is none. */
export const useRow = <N extends Tables>(name: N, key: Given<string>): LiveRefs<Row<N> | null> => useLive(() => live.row(name, toValue(key)))
/** What a query over the mirrored tables gives. */
export const useQuery = <R extends object = QueryRow>(sql: Given<string>, parameters: Given<readonly QueryParameter[]> = []): LiveRefs<R[]> =>
  useLive(() => live.query<R>(toValue(sql), toValue(parameters)))
