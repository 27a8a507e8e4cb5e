// What an app holds: one open mirror, behind promises.
//
// Every operation is a call to the worker. What the page adds is what only a page knows: its network events, whether
// it is looked at, and the app's access token.

import { Caller } from './caller.js'
import { MareaError } from './errors.js'
import type { ActivityDay, ClientStatus, Progress, Recorded, SessionInput, SyncReport } from './types.js'
import type { SignalName, Topic } from './protocol.js'
import { Watch } from './watch.js'
import type { ErrorListener, Listener } from './watch.js'

export interface OpenOptions {
  /** Where Supabase or PostgREST is served, without `/rest/v1`. */
  url: string
  /** The project's public (anon) key. */
  anonKey: string
  /** The signed-in user's UUID, as in the token's `sub`. Each user has a mirror of their own on this device. */
  userId: string
  /**
   * The user's access token, or null when there is none now. Asked for before each request and never kept. `fresh` is
   * true when the server refused the last one: answer with a new one.
   */
  getAccessToken(fresh: boolean): string | null | Promise<string | null>
  /** False to open without using the network until `setOnline(true)`. */
  online?: boolean
  /** False to leave out asking the browser not to evict the mirror when the disk is nearly full. */
  persist?: boolean
}

/**
 * Opens the user's mirror, making it if it is not there yet, and starts to sync in the background. Needs no network.
 *
 * Rejects with a {@link MareaError}: `mirror_locked` when another tab has this mirror open (after waiting up to 5 s for
 * a page that is being left), `storage_unavailable` where the browser gives no durable storage.
 */
export async function open(options: OpenOptions): Promise<Marea> {
  if (typeof Worker === 'undefined' || typeof navigator === 'undefined' || !isSecureContext) {
    const message = 'Marea needs a browser with workers, in a secure context (https or localhost).'
    throw new MareaError('storage_unavailable', message, false)
  }
  if (options.persist !== false) {
    // A wish: the mirror works without, and the browser may ask the user first.
    void navigator.storage?.persist?.().catch(() => false)
  }
  let marea: Marea | null = null
  // Written out in one expression, because that is the form that bundlers look for.
  const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'marea' })
  const caller = new Caller(worker, {
    tokenWanted: async (fresh) => options.getAccessToken(fresh),
    changed: (topics) => marea?.[refresh](topics),
  })
  const online = options.online !== false
  try {
    await caller.call('open', { url: options.url, anonKey: options.anonKey, userId: options.userId, online })
  } catch (error) {
    const reason = error instanceof MareaError ? error : new MareaError('internal', 'Marea could not be opened.', false)
    caller.end(reason)
    throw reason
  }
  marea = new Marea(caller)
  return marea
}

const refresh = Symbol('refresh')

/** One user's progress on this device. Made by {@link open}. */
export class Marea {
  readonly #caller: Caller
  readonly #progress: Watch<Progress>
  readonly #status: Watch<ClientStatus>
  readonly #stopListening: AbortController = new AbortController()

  /** @internal */
  constructor(caller: Caller) {
    this.#caller = caller
    this.#progress = new Watch(() => this.progress())
    this.#status = new Watch(() => this.status())
    const { signal } = this.#stopListening
    window.addEventListener('online', () => this.#signal('online'), { signal })
    window.addEventListener('offline', () => this.#signal('offline'), { signal })
    document.addEventListener('visibilitychange', () => this.#visibilityChanged(), { signal })
    if (navigator.onLine === false) this.#signal('offline')
  }

  /** Writes a session down. Resolves when it is durable on this device; it reaches the server later, exactly once. */
  recordSession(input: SessionInput): Promise<Recorded> {
    return this.#caller.call('recordSession', input)
  }

  /** The learner's progress: what the server confirmed, with this device's unsent work on top. */
  progress(): Promise<Progress> {
    return this.#caller.call('progress')
  }

  /** The days with activity from `from` to `to` (`YYYY-MM-DD`, both included), oldest first. */
  activity(from: string, to: string): Promise<ActivityDay[]> {
    return this.#caller.call('activity', from, to)
  }

  /** Calls `listener` with the progress as it is, and after every change. Returns how to stop. */
  watchProgress(listener: Listener<Progress>, onError?: ErrorListener): () => void {
    return this.#progress.subscribe(listener, onError)
  }

  /** How much waits, whether the server can be reached, what went wrong last. Offline is a state, not an error. */
  status(): Promise<ClientStatus> {
    return this.#caller.call('status')
  }

  /** Calls `listener` with the status as it is, and after every change. Returns how to stop. */
  watchStatus(listener: Listener<ClientStatus>, onError?: ErrorListener): () => void {
    return this.#status.subscribe(listener, onError)
  }

  /** Sends and pulls now instead of when it is due. Resolves with what was done, also when that was nothing. */
  sync(): Promise<SyncReport> {
    return this.#caller.call('sync')
  }

  /** Airplane mode of the app's own: with false, no request is started until it is true again. */
  setOnline(online: boolean): Promise<void> {
    return this.#caller.call('setOnline', online)
  }

  /** Tells Marea that `getAccessToken` has something new to give, so that it need not wait to ask. */
  tokenChanged(): Promise<void> {
    return this.#caller.call('signal', 'new_token')
  }

  /** Closes the mirror and lets another tab have it. Unsent work stays on the device and is sent after the next open. */
  async close(): Promise<void> {
    this.#stopListening.abort()
    const closed = new MareaError('closed', 'Marea was closed; open it again.', false)
    // Ending the worker alone would be safe too; the orderly way gives the files back a little sooner.
    await this.#caller.call('close').catch(() => undefined)
    this.#caller.end(closed)
  }

  /** @internal */
  [refresh](topics: Topic[]): void {
    if (topics.includes('progress')) this.#progress.refresh()
    if (topics.includes('status')) this.#status.refresh()
  }

  #signal(name: SignalName): void {
    // A worker that has ended needs no news.
    void this.#caller.call('signal', name).catch(() => undefined)
  }

  #visibilityChanged(): void {
    if (document.visibilityState !== 'visible') return
    this.#signal('visible')
    // A streak depends on today's date, which may have changed since the page was last looked at.
    this[refresh](['progress', 'status'])
  }
}
