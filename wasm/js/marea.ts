// What an app holds: one open mirror, behind promises. The same in a tab that leads and in one that follows.

import { runBatch } from './batch.js'
import type { Batch, Change } from './batch.js'
import { daysOf, followActivity } from './activity.js'
import type { ActivityRange } from './activity.js'
import { checkArguments, importItems } from './check.js'
import { tableName } from './check-tables.js'
import { learnersDay } from './days.js'
import { MareaError } from './errors.js'
import { fileCall, withoutFile } from './file-input.js'
import { carryOver } from './guest.js'
import { GUEST, makeWriteId } from './ids.js'
import { Keys } from './keys.js'
import { minutesOf } from './options.js'
import { EVERY_TABLE } from './protocol.js'
import type { Topic } from './protocol.js'
import type { Catalogue, QueryParameter, QueryRow, RegisteredSchema, TableName, TypesOf } from './schema.js'
import type { Access } from './access.js'
import { MirroredTable } from './table.js'
import { Tables } from './tables.js'
import type {
  ActivityDay,
  Claimed,
  ClientStatus,
  EventInput,
  Export,
  ExportChange,
  ExportInput,
  ExportPage,
  ExportQuery,
  FileView,
  Imported,
  ImportItem,
  MutationView,
  Progress,
  Recorded,
  SessionInput,
  SyncReport,
} from './types.js'
import { queueReader } from './queue.js'
import type { Queue, QueueOptions } from './queue.js'
import { Watches } from './watches.js'
import type { ErrorListener, Listener } from './watch.js'

export type { Queue, QueueOptions }

/** How the package tells an open mirror that something can be read anew. Not for apps. */
export const refresh = Symbol('refresh')

/** How an adapter of the package follows a whole table: it comes by an entry of its own, so they meet under a name. Not for apps. */
export const follow = Symbol.for('@marea/client:follow')

/** One user's progress on this device. Made by `open`. */
export class Marea<S = RegisteredSchema> {
  readonly #access: Access
  readonly #openGuest: () => Promise<Marea<S>>
  readonly #watches = new Watches()
  readonly #tables: Tables
  readonly #fileQuota: number | null

  /** The schema module that this tab opened the mirror with. */
  readonly schema: Catalogue | undefined
  /** The learner's API keys, sealed with a passphrase on this device. */
  readonly keys: Keys

  /** @internal */
  constructor(access: Access, schema: Catalogue | undefined, openGuest: () => Promise<Marea<S>>, fileQuota?: number) {
    this.#access = access
    this.#openGuest = openGuest
    this.#fileQuota = fileQuota ?? null
    this.schema = schema
    this.#tables = new Tables(access, this.#watches, schema)
    this.keys = new Keys(access, this.#watches)
  }

  /** Whose mirror it is. */
  get userId(): string {
    return this.#access.userId
  }

  /**
   * Writes a session down. Resolves when it is durable on this device; it reaches the server later, exactly once.
   * Sessions that are recorded without waiting for each other share one disk write.
   */
  recordSession(input: SessionInput): Promise<Recorded> {
    return this.#access.call('write', { kind: 'record_session', id: makeWriteId(), input })
  }

  /** Writes an award down that belongs to no session. Resolves when it is durable on this device. */
  recordEvent(input: EventInput): Promise<Recorded> {
    return this.#access.call('write', { kind: 'record_event', id: makeWriteId(), input })
  }

  /**
   * Brings in what the app kept before it had Marea (in `localStorage`, for one), with the times that it has. Called again, in another
   * tab or on another device, nothing comes in twice; once nothing of a `name` was refused, it is done, and a call with it does
   * nothing. Resolves when it is durable on this device. What is `refused` says why: put it right, and call again.
   */
  async importOnce(name: string, items: readonly ImportItem[]): Promise<Imported> {
    return this.#access.call('importOnce', name, importItems(items))
  }

  /** Whether nobody has signed in: the mirror was opened with `userId: null`. */
  get isGuest(): boolean {
    return this.#access.userId === GUEST
  }

  /**
   * Brings what was done on this device before anybody signed in into this account, exactly once: what is interrupted is ended by
   * the next call. Without any such work it does nothing.
   */
  async claim(): Promise<Claimed> {
    if (this.isGuest) throw new MareaError('needs_account', 'claim: needs an account; open with its user id first.', false)
    const guest = await this.#openGuest()
    return carryOver(guest.#access, this.#access)
  }

  /** The learner's progress: what the server confirmed, with this device's unsent work on top. */
  progress(): Promise<Progress> {
    return this.#access.call('progress')
  }

  /** Calls `listener` with the progress as it is, and after every change in any tab. Returns how to stop. */
  watchProgress(listener: Listener<Progress>, onError?: ErrorListener): () => void {
    return this.#watches.shared('progress', ['progress'], () => this.progress(), listener, onError)
  }

  /** The learner's day now, `YYYY-MM-DD`: it begins at `dayStartsAt`. */
  today(): string {
    return learnersDay(new Date(), this.dayStart)
  }

  /** At which minute after midnight the learner's day begins. */
  get dayStart(): number {
    return this.#access.dayStart
  }

  /** Says at which hour after midnight the learner's day begins, 0 to 6. Days that there are stay as they are. */
  async setDayStartsAt(hours: number): Promise<void> {
    this.#access.dayStart = await this.#access.call('dayStart', minutesOf(hours))
  }

  /** The days with activity from `from` to `to` (`YYYY-MM-DD`, both included), oldest first. */
  activity(from: string, to: string): Promise<ActivityDay[]> {
    return this.#access.call('activity', from, to)
  }

  /**
   * Calls `listener` with these days as they are, and after every change in any tab: the last so many (`{ days: 7 }`, today included,
   * and others as soon as a new day has begun), or those from `from` to `to`. Returns how to stop.
   */
  watchActivity(range: ActivityRange, listener: Listener<ActivityDay[]>, onError?: ErrorListener): () => void
  watchActivity(from: string, to: string, listener: Listener<ActivityDay[]>, onError?: ErrorListener): () => void
  watchActivity(...given: unknown[]): () => void {
    if (typeof given[1] === 'function') {
      const [range, listener, onError] = given as [ActivityRange, Listener<ActivityDay[]>, ErrorListener | undefined]
      // With nobody to be told later, wrong arguments are told now.
      if (!onError) checkArguments('activity', daysOf(range, new Date(), this.dayStart))
      return followActivity(range, (...days) => this.watchActivity(...days), listener, onError ?? (() => undefined), () => this.dayStart)
    }
    const [from, to, listener, onError] = given as [string, string, Listener<ActivityDay[]>, ErrorListener | undefined]
    if (!onError) checkArguments('activity', [from, to])
    return this.#watches.own(['activity'], () => this.activity(from, to), listener, onError)
  }

  /**
   * Asks for an export. Resolves with its id when that is durable on this device, and with it its file, if it has one: that is
   * uploaded once the export has reached the server.
   *
   * Where there is no room for the file (`storage_full`), or this browser keeps none (`files_unavailable`), the export is recorded all
   * the same: then the error has its id as `exportId`.
   */
  async createExport(input: ExportInput & { file?: Blob | Uint8Array | null }): Promise<Recorded> {
    const [file, rest] = withoutFile(input)
    if (file === null) return this.#access.call('write', { kind: 'create_export', id: makeWriteId(), input: rest })
    const id = rest.id ?? makeWriteId()
    try {
      return (await this.#access.call('keepFile', ...fileCall(id, rest, file, this.#fileQuota))) as Recorded
    } catch (error) {
      if (!(error instanceof MareaError) || !['storage_full', 'files_unavailable'].includes(error.code)) throw error
      const recorded = await this.export(id).catch(() => null)
      throw recorded ? Object.assign(error, { exportId: recorded.id }) : error
    }
  }

  /** Gives an export that is there its file: one that had none, or whose file was refused. Errors as those of `createExport`. */
  async attachFile(id: string, file: Blob | Uint8Array): Promise<void> {
    await this.#access.call('keepFile', ...fileCall(id, null, file, this.#fileQuota))
  }

  /** All files of exports that this device knows of, oldest first, with how far each is and what it met last. */
  files(): Promise<FileView[]> {
    return this.#access.call('files')
  }

  /** Calls `listener` with these files as they are, and whenever one gets on. Returns how to stop. */
  watchFiles(listener: Listener<FileView[]>, onError?: ErrorListener): () => void {
    return this.#watches.shared('files', ['files'], () => this.files(), listener, onError)
  }

  /** Holds the file of an export back, or (false) lets it go on. */
  pauseFile(id: string, paused = true): Promise<void> {
    return this.#access.call('changeFile', id, paused ? 'pause' : 'resume')
  }

  /** Tries a file now that was refused, or that waits for its next attempt. */
  retryFile(id: string): Promise<void> {
    return this.#access.call('changeFile', id, 'retry')
  }

  /** Gives a file up, here and at the server. The export stays. */
  cancelFile(id: string): Promise<void> {
    return this.#access.call('changeFile', id, 'cancel')
  }

  /** The file of an export: from this device, else fetched from the server and checked against its hash. */
  exportFile(id: string): Promise<Blob> {
    return this.#access.call('exportFile', id)
  }

  /** A link that opens the file of an export for whoever has it, for so many seconds, 1 or more: an hour unless it is given. */
  exportUrl(id: string, { expiresIn = 3600 }: { expiresIn?: number } = {}): Promise<string> {
    return this.#access.call('exportUrl', id, expiresIn)
  }

  /** Says what became of an export. Only the columns that are set change; for each the last writer wins. */
  updateExport(id: string, change: ExportChange): Promise<Recorded> {
    return this.#access.call('write', { kind: 'update_export', id: makeWriteId(), export: id, change })
  }

  /** Deletes an export, on all devices. */
  deleteExport(id: string): Promise<Recorded> {
    return this.#access.call('write', { kind: 'delete_export', id: makeWriteId(), export: id })
  }

  /** A page of exports, newest first. Hand its `next` to the next query as `after`. */
  exports(query: ExportQuery = {}): Promise<ExportPage> {
    return this.#access.call('exports', query)
  }

  /** One export; null when this device has none with this id. */
  export(id: string): Promise<Export | null> {
    return this.#access.call('export', id)
  }

  /** Calls `listener` with this page of exports as it is, and after every change in any tab. Returns how to stop. */
  watchExports(query: ExportQuery, listener: Listener<ExportPage>, onError?: ErrorListener): () => void {
    if (!onError) checkArguments('exports', [query])
    return this.#watches.own(['exports'], () => this.exports(query), listener, onError)
  }

  /** A mirrored table, by its name in the catalogue. */
  table<N extends TableName<S>>(name: N): MirroredTable<TypesOf<S, N>> {
    tableName(name, 'table')
    return new MirroredTable(this.#tables, name)
  }

  /**
   * Does up to 500 changes, all or none, on the device and on the server: those of a list, or those that a function makes.
   * Resolves with the keys of their rows, in order, when all of it is durable on this device.
   */
  batch(changes: ((batch: Batch<S>) => void | Promise<void>) | readonly Change<S>[]): Promise<string[]> {
    return runBatch(this.#tables, changes)
  }

  /**
   * Runs one `SELECT` of SQLite's over the mirrored tables, `user_progress`, `daily_activity` and `export_history`, and over nothing
   * else. `?1`, `?2`, ... stand for the parameters. Resolves with a row for each result, by the names of its columns.
   */
  query<R extends object = QueryRow>(sql: string, parameters: readonly QueryParameter[] = []): Promise<R[]> {
    return this.#tables.query(sql, parameters)
  }

  /** Calls `listener` with what the query gives, and after every change of a table. Returns how to stop. */
  watchQuery<R extends object = QueryRow>(
    sql: string,
    parameters: readonly QueryParameter[],
    listener: Listener<R[]>,
    onError?: ErrorListener,
  ): () => void {
    return this.#tables.watchQuery(sql, parameters, listener, onError)
  }

  /** The tables that are mirrored: those of the app's schema module, or what was learned of the server; null until then. */
  catalogue(): Promise<Catalogue | null> {
    return this.#tables.catalogue()
  }

  /** All that the server has not acknowledged yet, oldest first. */
  pending(): Promise<MutationView[]> {
    return this.#access.call('pending')
  }

  /**
   * All that the server refused for a reason that a retry alone does not change, oldest first, each with the reason and with
   * all that it would have changed: nothing that a learner did is dropped without a trace.
   */
  rejected(): Promise<MutationView[]> {
    return this.#access.call('rejected')
  }

  /** Queues a refused mutation again; says whether there was one with this id. */
  retry(id: string): Promise<boolean> {
    return this.#access.call('retry', id)
  }

  /** Forgets a refused mutation for good; says whether there was one with this id. */
  discard(id: string): Promise<boolean> {
    return this.#access.call('discard', id)
  }

  /** Queues all refused mutations again, all or none; resolves with how many there were. */
  retryAll(): Promise<number> {
    return this.#access.call('retryAll')
  }

  /** Forgets all refused mutations for good, all or none; resolves with how many there were. */
  discardAll(): Promise<number> {
    return this.#access.call('discardAll')
  }

  /**
   * Calls `listener` with how much waits and how much was refused, and the first of each; and again after every change in any
   * tab. What that costs does not grow with the queue. Returns how to stop.
   */
  watchQueue(listener: Listener<Queue>, onError?: ErrorListener, options?: QueueOptions): () => void {
    const limit = options?.limit ?? 100
    if (!onError) checkArguments('queue', [limit, null])
    const read = queueReader((known) => this.#access.call('queue', limit, known))
    return this.#watches.shared(`queue:${limit}`, ['queue'], read, listener, onError)
  }

  /** How much waits, whether the server can be reached, what went wrong last. Offline is a state, not an error. */
  status(): Promise<ClientStatus> {
    return this.#access.call('status')
  }

  /** Calls `listener` with the status as it is, and after every change. Returns how to stop. */
  watchStatus(listener: Listener<ClientStatus>, onError?: ErrorListener): () => void {
    return this.#watches.shared('status', ['status'], () => this.status(), listener, onError)
  }

  /** State and last syncs as one JSON document for support: no learner's data, no secret. */
  diagnostics(): Promise<string> {
    return this.#access.call('diagnostics')
  }

  /** Sends and pulls now instead of when it is due. Resolves with what was done, also when that was nothing. */
  sync(): Promise<SyncReport> {
    return this.#access.call('sync')
  }

  /** Airplane mode of the app's own, in all tabs: with false, no request is started until it is true again. */
  setOnline(online: boolean): Promise<void> {
    return this.#access.call('setOnline', online)
  }

  /** Tells Marea that `getAccessToken` has something new to give, so that it need not wait to ask. */
  tokenChanged(): Promise<void> {
    return this.#access.call('signal', 'new_token')
  }

  /** Whether this tab has the mirror open and serves the others. For diagnostics: to an app it makes no difference. */
  get leads(): boolean {
    return this.#access.leads
  }

  /** Closes the mirror in this tab. Unsent work stays on the device and is sent by another tab, or after the next open. */
  close(): Promise<void> {
    return this.#access.leave()
  }

  /**
   * Takes this user's mirror off the device, in all tabs, **with everything that was not sent**: look at
   * `status().pending` first. Resolves with how much that was. For signing out on a device that is not the learner's own;
   * `close` keeps the mirror for the next time.
   */
  async erase(): Promise<number> {
    // A mirror that cannot be read is erased all the same.
    const unsent = await this.status().then(
      (status) => status.pending,
      () => 0,
    )
    await this.#access.erase()
    return unsent
  }

  /** @internal Has `read` read now, and after every change of the table. Returns how to stop. */
  [follow](table: string, read: () => Promise<unknown>, onError: ErrorListener): () => void {
    return this.#tables.follow(table, read, onError)
  }

  /** @internal */
  [refresh](topics: Topic[]): void {
    if (topics.includes(EVERY_TABLE)) this.#tables.catalogueChanged()
    this.#watches.refresh(topics)
  }
}
