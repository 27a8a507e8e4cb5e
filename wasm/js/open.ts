// Opens a mirror: finds out where it can be kept on this device, and joins the tabs that have it open.

import { schemaText } from './catalogue.js'
import { MareaError } from './errors.js'
import { GUEST } from './ids.js'
import { knownStorage, noteMirror } from './memory.js'
import type { Kept } from './memory.js'
import { Marea, refresh } from './marea.js'
import { downloadModule } from './module.js'
import type { Loading } from './module.js'
import { tellOpened } from './opened.js'
import { checkOptions, keyOf, minutesOf } from './options.js'
import { isThePlaces, placesFor, refusedReason } from './places.js'
import type { Candidacy } from './protocol.js'
import type { Catalogue, RegisteredSchema } from './schema.js'
import { reportErrors } from './report.js'
import type { ErrorReporter } from './report.js'
import { startWorkerHost } from './worker-host.js'
import type { WorkerHost, HostEvents } from './worker-host.js'
import { Tab } from './tab.js'
import { within } from './watchdog.js'
import type { TabEvents } from './tab.js'

const DAY_START_LIMIT_MS = 1_000

export interface OpenOptions {
  /**
   * The app's mirrored tables: `schema` of the module that `npx marea-client schema` writes. Without it they are learned from the
   * server at the first sync, and kept.
   */
  schema?: Catalogue
  /** Where Supabase or PostgREST is served, without `/rest/v1`. */
  url: string
  /**
   * True to let `url` be another machine by `http://`: everybody on the way can then read the access token and change what is sent.
   * This machine itself (`localhost`, `127.0.0.0/8`, `[::1]`) needs no leave.
   */
  allowHttp?: boolean
  /** The project's public key: `sb_publishable_...`, or the anon key of projects from before. */
  publishableKey?: string
  /** The older name of `publishableKey`, which goes on working. One of the two must be given. */
  anonKey?: string
  /** The signed-in user's UUID, as in the token's `sub`. Each user has a mirror of their own on this device. */
  userId: string
  /**
   * True to bring what was done on this device before anybody signed in ({@link GuestOptions}) into the account, before `open`
   * resolves. What cannot be brought now waits for the next time; `Marea.claim` says what became of it.
   */
  claimGuest?: boolean
  /**
   * The user's access token, or null when nobody is signed in. Asked for before each request and never kept. `fresh` is
   * true when the server refused the last one: answer with a new one. Throw (or reject) when it cannot be said now: it is
   * asked again, a little later each time.
   */
  getAccessToken(fresh: boolean): string | null | Promise<string | null>
  /**
   * At which hour after midnight the learner's day begins, 0 to 6 (`4`, `3.5`): what is recorded before counts for the day before, and a
   * streak lives until then. The same on every device, or days differ. Kept on the device; left out it stays as it is, at first 0.
   */
  dayStartsAt?: number
  /** False to open without using the network until `setOnline(true)`. Holds for all tabs of this user. */
  online?: boolean
  /**
   * False to open no socket for wake-ups. Otherwise, where the server tells of changes (`marea.set_wakeups(true)`), what another
   * device wrote is here within a second or so; `status().wakeups` says whether.
   */
  wakeups?: boolean
  /** False to leave out asking the browser not to evict the mirror when the disk is nearly full. */
  persist?: boolean
  /**
   * Where the mirror is kept. By default the best that the browser gives: its file system, else `localStorage`, else
   * memory; `status().storage` says which.
   */
  storage?: 'opfs' | 'local-storage' | 'memory'
  /** Files of exports. */
  files?: {
    /** How many bytes they may take on this device: 200 MB unless it is given. Uploaded ones leave it when others need the room. */
    quotaBytes?: number
  }
  /**
   * Called while the engine is downloaded, for a progress bar: at each piece that comes, and once at the end. Where another
   * tab serves this one, the mirror may be open before that.
   */
  onLoading?(loading: Loading): void
  /**
   * Told of each error in the tab that leads, for a service that collects errors: what goes wrong between the device and the server (not
   * that there is no network, or nobody signed in), writes that the server refuses from now on, and what the device met. It holds nothing
   * that a learner wrote. Outside of browsers each program and each window that has it is told.
   */
  onError?: ErrorReporter
  /**
   * The address of `worker.js`, where it is not beside this module on the page's own origin (assets on a CDN, from which a
   * browser starts no worker).
   */
  workerUrl?: string | URL
  /** The name of a Trusted Types policy to make the worker with, on pages that require them (`trusted-types NAME`). */
  trustedTypesPolicy?: string
}

/**
 * To open a mirror before anybody has signed in: it records and reads on this device alone, and makes no requests. `Marea.claim`
 * brings what is in it into an account.
 */
export type GuestOptions = Omit<OpenOptions, 'userId' | 'getAccessToken' | 'claimGuest'> & {
  userId: null
  getAccessToken?: OpenOptions['getAccessToken']
  claimGuest?: boolean
}

/**
 * Opens the user's mirror, making it if it is not there yet, and starts to sync in the background. Needs no network.
 * Other tabs may have it open too: all see the same, and any may be closed at any time.
 *
 * Rejects with a {@link MareaError}: `invalid_input` for an option that is missing or cannot be right,
 * `storage_unavailable` when this device has a mirror of the user that the browser does not give access to now,
 * `mirror_newer` and `app_outdated` when a newer version of the app has been here.
 */
export async function open<S = RegisteredSchema>(options: OpenOptions | GuestOptions): Promise<Marea<S>> {
  const marea = await openMirror<S>(options)
  tellOpened(marea as Marea)
  return marea
}

/** The same, of which nobody is told: a guest's mirror is opened in passing too. */
async function openMirror<S>(options: OpenOptions | GuestOptions): Promise<Marea<S>> {
  checkOptions(options)
  const begunAt = Date.now()
  const userId = options.userId ?? GUEST
  const schema = schemaText(options.schema)
  if (typeof BroadcastChannel === 'undefined' || typeof document === 'undefined') {
    throw new MareaError('storage_unavailable', 'Marea needs a browser: it is opened in a page.', false)
  }
  const known = knownStorage(userId)
  let marea: Marea<S> | null = null
  let token: string | null = ''
  const events: TabEvents = {
    tokenWanted: async (fresh) => (token = (await options.getAccessToken?.(fresh)) ?? null),
    changed: (topics) => marea?.[refresh](topics),
  }
  let refused: MareaError | null = null
  for (const { storage, reason } of placesFor(options.storage, known)) {
    const candidacy: Candidacy = {
      userId,
      url: asciiUrl(options.url),
      anonKey: keyOf(options),
      online: options.online !== false,
      wakeups: options.wakeups !== false,
      storage,
      known: known === storage,
      reason: refused ? refusedReason(refused) : reason,
      revision: 0,
      schema,
    }
    const tab = new Tab(candidacy, withModule(await hostFor(storage, options), options.onLoading?.bind(options)), events)
    try {
      await tab.join()
    } catch (error) {
      if (!isThePlaces(error, known)) throw error
      refused = error
      continue
    }
    noteMirror(userId, storage)
    // What the app asks for counts also where another tab leads that was opened otherwise.
    if (options.online !== undefined) await tab.call('setOnline', options.online)
    if (options.dayStartsAt !== undefined) tab.dayStart = await tab.call('dayStart', minutesOf(options.dayStartsAt))
    else await within(DAY_START_LIMIT_MS, (done) => void learnDayStart(tab, events).then(done))
    marea = new Marea<S>(tab, options.schema, () => openMirror<S>(asGuest(options)), options.files?.quotaBytes)
    if (options.onError) reportErrors(marea as Marea, options.onError.bind(options), begunAt, () => token === null)
    if (storage === 'opfs' && options.persist !== false) void askToPersist(tab)
    if (options.claimGuest && userId !== GUEST && knownStorage(GUEST)) await marea.claim().catch(() => undefined)
    return marea
  }
  throw refused ?? new MareaError('storage_unavailable', goneMessage(known), true)
}

/** The same place for who has not signed in. */
function asGuest({ schema, ...options }: OpenOptions | GuestOptions): GuestOptions {
  // Its tables are the account's: what a guest wrote is read with them.
  return { ...options, ...(schema && { schema }), userId: null, claimGuest: false, persist: false }
}

type StartHost = (events: HostEvents) => WorkerHost

/** The engine comes into the page only where it has to run there. */
async function hostFor(storage: Candidacy['storage'], options: OpenOptions | GuestOptions): Promise<StartHost> {
  if (storage === 'opfs') return (events) => startWorkerHost(events, options)
  try {
    return (await import('./worker.js')).startPageHost
  } catch {
    throw new MareaError('worker_failed', "Marea's worker.js could not be loaded. Check that it is served.", true)
  }
}

/** Brings the engine's module to the host, and reports the download. */
function withModule(take: StartHost, onLoading: OpenOptions['onLoading']): StartHost {
  return (events) => {
    const download = downloadModule()
    const host = take(events)
    let ended = false
    const heard = (loading: Loading): void => {
      if (ended) return
      events.loading()
      onLoading?.(loading)
    }
    const end = (): void => {
      ended = true
      host.end()
    }
    download.wait(heard).then(
      (module) => ended || host.post({ kind: 'module', module }),
      (error: MareaError) => {
        if (ended) return
        end()
        events.broken(error, false)
      },
    )
    return { post: (message) => host.post(message), end }
  }
}

/** An hour that was said before is kept in the mirror. Not waited for long: a leader that does not answer must not hold up `open`. */
async function learnDayStart(tab: Tab, events: TabEvents): Promise<void> {
  const kept = await tab.call('dayStart', null).catch(() => 0)
  if (kept === tab.dayStart) return
  tab.dayStart = kept
  events.changed(['progress', 'activity'])
}

/** Asked for, not needed: the mirror works without, and the browser may ask the user first. */
async function askToPersist(tab: Tab): Promise<void> {
  await navigator.storage.persist?.().catch(() => false)
  // The leader looks at what came of it.
  await tab.call('lookAtStorage').catch(() => undefined)
}

function goneMessage(known: Kept | null): string {
  return `This browser has a mirror of this user (${known ?? 'none'}) but gives no access to it now. Use the window or \
the settings that it was made with: a new, empty one is not begun in its place.`
}

/** The module has no tables of Unicode names; the browser's own parser writes a host such as `bücher.example` in ASCII. */
function asciiUrl(url: string): string {
  return URL.canParse(url) ? new URL(url).href : url
}
