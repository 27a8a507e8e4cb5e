// What tabs say to each other, and a page to its own worker. Types and names only.
//
// One tab leads: it has the mirror open. All others send it their calls. The same messages go through `postMessage` to
// a worker of one's own and through BroadcastChannels to another tab, so whoever answers need not know who asks.

import type { WireError } from './errors.js'
import type { StorageReason } from './places.js'
import type { KnownQueue, QueueAnswer } from './queue.js'
import type { ListQuery, Where } from './schema.js'
import type { PassphraseWork } from './vault.js'
import type {
  ActivityDay,
  Claimed,
  ClientStatus,
  Export,
  ExportInput,
  ExportPage,
  ExportQuery,
  FileView,
  Imported,
  MutationView,
  Progress,
  Recorded,
  ApiProvider,
  KeysStatus,
  PassphraseOutcome,
  SyncReport,
  Write,
} from './types.js'

/**
 * The version of these messages. Two tabs with different ones cannot work together: the older one says so and asks to be
 * reloaded. What must never change: the names of the lock and of the channels, and the form of {@link Leading} and
 * {@link Candidate}, by which different versions recognise each other.
 */
export const TAB_PROTOCOL = 1

/**
 * Grows with each call that is added. A tab follows no leader that does not know all of its calls: that one makes room as soon as it
 * hears of this tab's candidate. A leader that knows more serves older tabs.
 */
export const TAB_CALLS = 3

/** What a build of the package is able to read. */
export interface Version {
  /** {@link TAB_PROTOCOL} */
  protocol: number
  /** The newest mirror schema that it knows. */
  mirror: number
  /** {@link TAB_CALLS}; the first versions did not say it. */
  calls?: number
}

/** Whether `one` is of a newer build than `other`. */
export function isNewer(one: Version, other: Version): boolean {
  if (one.protocol !== other.protocol) return one.protocol > other.protocol
  if (one.mirror !== other.mirror) return one.mirror > other.mirror
  return callsOf(one) > callsOf(other)
}

export const callsOf = ({ calls }: Version): number => calls ?? 1

/** Of all tabs of a site, those with the same user meet under this name. It is also the Web Lock's. */
export const meetingName = (userId: string): string => `marea:${userId.toLowerCase()}`
/** Where a leader listens. */
export const leaderChannel = (meeting: string): string => `${meeting}:leader`
/** Where all tabs listen. */
export const newsChannel = (meeting: string): string => `${meeting}:news`
/** Where one tab listens. */
export const tabChannel = (meeting: string, tab: string): string => `${meeting}:tab:${tab}`

/** News of a tab's surroundings, for which the engine reconsiders when to try next. */
export type SignalName = 'online' | 'offline' | 'visible' | 'new_token'

/** What can be read anew after something changed. */
export type Topic = 'progress' | 'activity' | 'exports' | 'files' | 'keys' | 'queue' | 'status' | 'some-table' | 'every-table' | `table:${string}`
/** Told beside the topic of each mirrored table, for what reads several of them. */
export const SOME_TABLE: Topic = 'some-table'
/** All mirrored tables, and what is known of them, may be others. */
export const EVERY_TABLE: Topic = 'every-table'
export const tableTopic = (table: string): Topic => `table:${table}`
export const ALL_TOPICS: Topic[] = ['progress', 'activity', 'exports', 'files', 'keys', 'queue', 'status', EVERY_TABLE]

/** What the rows of the tables that Marea brings are read through. */
export const BUILT_IN: Record<string, Topic[]> = {
  user_progress: ['progress'],
  daily_activity: ['activity', 'progress'],
  export_history: ['exports', 'files'],
  user_api_keys: ['keys'],
}

/** The calls, each with its arguments and its answer. */
export interface Methods {
  write(write: Write): Recorded
  progress(): Progress
  activity(from: string, to: string): ActivityDay[]
  exports(query: ExportQuery): ExportPage
  export(id: string): Export | null
  pending(): MutationView[]
  rejected(): MutationView[]
  queue(limit: number, known: KnownQueue | null): QueueAnswer
  retry(id: string): boolean
  discard(id: string): boolean
  retryAll(): number
  discardAll(): number
  status(): ClientStatus
  diagnostics(): string
  sync(): SyncReport
  signal(name: SignalName): void
  setOnline(online: boolean): void
  /** What the browser says about its storage may have changed. */
  lookAtStorage(): void
  /** Which tables there are, by the app's schema module; null: as the server says. */
  useSchema(schema: string | null): void
  /** The catalogue that is in use, as JSON. */
  catalogue(): string | null
  /** A row as JSON, or `null`. */
  row(table: string, key: string): string
  /** A JSON list of rows. */
  list(table: string, query: ListQuery<object>): string
  count(table: string, where: Where<object>): number
  /** The parameters and the answer are JSON: in a message of numbers a big integer would not survive. */
  query(sql: string, parameters: string): string
  /** An export with its file, or (`input` null, and so the answer) the file of one that is there. */
  keepFile(asked: NewFile, file: Blob): Recorded | null
  files(): FileView[]
  changeFile(id: string, what: FileChange): void
  exportFile(id: string): Blob
  exportUrl(id: string, expiresIn: number): string
  /** At which minute after midnight the learner's day begins; a number sets it. */
  dayStart(minutes: number | null): number
  /** The items are JSON. */
  importOnce(name: string, items: string): Imported
  /** Of a guest's mirror: what is in it, for an account, as JSON. */
  handOver(userId: string): string
  takeOver(handover: string): Claimed
  handedOver(handover: string): void
  keysStatus(): KeysStatus
  keysWork(work: PassphraseWork): PassphraseOutcome
  keysLock(): void
  keysGenerate(): string
  keysLockAfter(millis: number | null): void
  keysPut(provider: ApiProvider, key: string): Recorded
  keysOpen(provider: ApiProvider): Uint8Array
  keysRemove(provider: ApiProvider): Recorded
  keysValidated(): void
  keysRecoveryCode(): string
  keysRemember(): void
  keysUnlockRemembered(): boolean
  keysForget(): void
  keysReset(): void
}

export type FileChange = 'pause' | 'resume' | 'retry' | 'cancel'

/** A file that is to be kept. */
export interface NewFile {
  /** The export's. */
  id: string
  input: ExportInput | null
  extension: string
  content_type: string
  /** What files may take on this device, in bytes; null: as the engine says. */
  quota: number | null
}

export type Method = keyof Methods
export type Args<M extends Method> = Parameters<Methods[M]>
export type Answer<M extends Method> = ReturnType<Methods[M]>

/** One call. `id` is the calling tab's own number for it. */
export interface Call {
  id: number
  method: Method
  args: unknown[]
  /** Carried out with nothing else beside it: an engine has stopped at it, or at what was beside it. */
  alone?: boolean
}

/** `stopped`: the engine met a fault at it, and the next one may be asked. */
export type Result = { id: number; value: unknown } | { id: number; error: WireError; stopped?: boolean }

/** A tab says that it is there; the leader answers with {@link Leading}. */
export interface Hello {
  kind: 'hello'
  tab: string
}

export interface Calls {
  kind: 'calls'
  tab: string
  /** Whom the tab takes for the leader. Another one leaves the calls alone: the tab will hear of it and send them again. */
  term: string
  calls: Call[]
}

/** An answer to {@link TokenWanted}. */
export interface Token {
  kind: 'token'
  id: number
  /** Null when nobody is signed in. */
  token: string | null
  /** The app could not say now. */
  failed?: boolean
  /** Beside `failed`: the account is no longer there. */
  deleted?: boolean
}

/** A tab that could lead. A leader of an older version makes room for it. */
export interface Candidate {
  kind: 'candidate'
  version: Version
}

/** Somebody looks at this page: the answer to {@link Looking}. */
export interface Seen {
  kind: 'seen'
}

export type ToLeader = Hello | Calls | Token | Candidate | Seen

/** Somebody leads. `term` is new each time. */
export interface Leading {
  kind: 'leading'
  term: string
  version: Version
  /** Whether the app allows the network now. */
  online: boolean
  revision?: Revision
  /** The revision that this leader found when it opened the mirror. */
  opened?: Revision
}

/** What a leader's writes have come to, where other pages see them late (image.ts). */
export type Revision = number | undefined

export interface Results {
  kind: 'results'
  results: Result[]
  revision?: Revision
}

/** The leader needs an access token; `fresh` when the last one was refused. */
export interface TokenWanted {
  kind: 'token-wanted'
  id: number
  fresh: boolean
}

/** Does somebody look at this page? Pages of older versions do not answer. */
export interface Looking {
  kind: 'looking'
}

export type News =
  | Leading
  | TokenWanted
  | Looking
  /** A tab is about to erase the mirror: all let go of it. */
  | { kind: 'erased' }
  | { kind: 'changed'; topics: Topic[]; revision?: Revision }
  | { kind: 'online'; online: boolean }

/** What a tab needs to be able to lead. No access token: it is asked for when it is needed, and never kept. */
export interface Candidacy {
  userId: string
  url: string
  anonKey: string
  /** Whether the app allows the network. */
  online: boolean
  /** Whether the app wants to hear of other devices' changes at once. */
  wakeups: boolean
  storage: 'opfs' | 'local-storage' | 'memory'
  /** Whether this device has had a mirror of this user before: then none is an eviction, and no beginning. */
  known: boolean
  /** Why it is not the best place, for the status. */
  reason: StorageReason | null
  /** The newest that this tab was told of. */
  revision: number
  /** The app's catalogue, or null to learn it; not there once a tab that has one has joined: from then on the mirror has it. */
  schema?: string | null
}

/** From a page to the worker (or the part of itself) that may lead for it. */
export type ToHost =
  | Hello
  | Calls
  | Token
  | Seen
  | { kind: 'apply'; candidacy: Candidacy }
  /** The engine, compiled. The page brings it: see module.ts. */
  | { kind: 'module'; module: WebAssembly.Module }
  | { kind: 'online'; online: boolean }
  | { kind: 'revision'; revision: number }
  /** The tab has joined: see {@link Candidacy.schema}. */
  | { kind: 'joined' }
  | { kind: 'leave' }

/** And back. */
export type FromHost =
  | Leading
  | Results
  | TokenWanted
  | Looking
  /** The worker runs; it opens the mirror. */
  | { kind: 'started' | 'opening' }
  /** The mirror could not be opened, or can no longer be used; `stopped`: by this engine, another one may. */
  | { kind: 'failed'; error: WireError; final: boolean; stopped?: boolean }
  /** A newer version wants the mirror, or this one has closed it as asked. */
  | { kind: 'left' }
