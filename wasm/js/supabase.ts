// supabase-js and Marea: whose mirror is open follows who is signed in, and tokens come from where the app has them.
//
// Typed by what it uses of the app's client, so the package depends on no version of it.
//
// The trap that this file is about: an access token lives for an hour, and a client that cannot reach the server to
// renew it says "no session", as if nobody were signed in. A learner on a train would lose sight of their own work. So
// the last user's id is remembered (nothing else is), and forgotten when that user signs out.
//
// The other one: by a device's clock that is fast, every token has ended when it comes. The client then renews it each time
// that it is asked for one, until the server has had enough (429), and takes that for a sign-out. So a token that the client
// gave is used until the server refuses it, and a sign-out that the server knows nothing of closes nothing.

import { Connection, OPENING } from './connection.js'
import type { MareaSource, MareaState } from './connection.js'
import { MareaError } from './errors.js'
import type { Marea } from './marea.js'
import type { OpenOptions } from './open.js'
import { checkServer, keyOf } from './options.js'

/** As much of a session of supabase-js as is used here. */
export interface SupabaseSession {
  access_token: string
  /** Seconds since 1970 by the server's clock. */
  expires_at?: number | undefined
  user: { id: string }
}

interface SessionAnswer {
  data: { session: SupabaseSession | null }
  error: AuthError | null
}

interface AuthError {
  name: string
  message?: string
  status?: number | undefined
  code?: string | undefined
}

/** As much of a client of supabase-js as is used here: give it what `createClient` made. */
export interface SupabaseLike {
  auth: {
    getSession(): Promise<SessionAnswer>
    refreshSession(): Promise<SessionAnswer>
    onAuthStateChange(callback: (event: string, session: SupabaseSession | null) => void): {
      data: { subscription: { unsubscribe(): void } }
    }
  }
}

export type SupabaseOptions = Omit<OpenOptions, 'userId' | 'getAccessToken' | 'claimGuest'> & {
  /**
   * True to have a mirror open before anybody signs in too, on this device alone, and to bring what is in it into the account at
   * sign-in. An anonymous user of Supabase is none of these guests: such a user has an account, and keeps it when it is linked.
   */
  guests?: boolean
}

/** The mirror of whoever is signed in. */
export interface Account extends MareaSource {
  /**
   * The mirror of the signed-in user, once it is open: while nobody is signed in, it waits for somebody. `state` says at once
   * which of the two it is. Rejects when the mirror cannot be opened, and after `close`.
   */
  ready(): Promise<Marea>
  /** Stops following the client and closes the mirror. Signs nobody out. */
  close(): Promise<void>
}

// How long the client may take to say who is signed in before the user of last time is taken. It knows at once unless
// it has to renew a token and has no network.
const PATIENCE_MS = 400
// When the server is asked whether a session that is said to be over is.
const SIGN_OUT_PAUSES_MS = [0, 500, 1_000]
// What it says then of one that is. Whatever else comes (no network, a limit of the rate, a gateway that failed) is no word on it.
const OVER_STATUS = [401, 403]

/**
 * Opens the mirror of whoever is signed in with `client`, now and after each sign-in; closes it at sign-out. What is
 * unsent stays on the device for that user's next sign-in.
 *
 * Starts without a network too, also when the token that the client keeps has expired.
 *
 * Throws a {@link MareaError} (`invalid_input`) for options that cannot be right, and for a client without a sign-in of its
 * own: one that was made with `accessToken` says neither who is signed in nor when that changes. Use `open` with it.
 */
export function openWithSupabase(client: SupabaseLike, options: SupabaseOptions): Account {
  checkServer(options)
  return new SupabaseAccount(signInOf(client), options)
}

/** The client's own sign-in. A client that has none throws at the first touch of it. */
function signInOf(client: SupabaseLike): SupabaseLike['auth'] {
  try {
    if (typeof client.auth.onAuthStateChange === 'function') return client.auth
  } catch {
    // Told below, in words that help.
  }
  const message =
    'client: has no sign-in that could be followed (was it made with `accessToken`?). Use open() of @marea/client ' +
    "instead, with the token's `sub` as userId and your own function as getAccessToken."
  throw new MareaError('invalid_input', message, false)
}

class SupabaseAccount implements Account {
  readonly #auth: SupabaseLike['auth']
  readonly #options: SupabaseOptions
  readonly #connection = new Connection()
  readonly #memory: Memory
  readonly #unsubscribe: () => void
  readonly #patience: ReturnType<typeof setTimeout>
  readonly #listeners = new Set<() => void>()
  /** False until it is decided that somebody is signed in, or that nobody is. */
  #decided = false
  #closed = false
  /** What the client has told of last. */
  #session: SupabaseSession | null = null
  #handedOut: string | null = null
  /** What the client was asked last. */
  #asked: Promise<SessionAnswer> | null = null

  constructor(auth: SupabaseLike['auth'], options: SupabaseOptions) {
    this.#auth = auth
    this.#options = options
    this.#memory = new Memory(`marea.user:${options.url}`)
    this.#connection.subscribe(() => this.#tell())
    // The client calls back while it holds a lock of its own, so nothing of it may be awaited in there.
    const { data } = auth.onAuthStateChange((event, session) => this.#heard(event, session))
    this.#unsubscribe = () => data.subscription.unsubscribe()
    this.#patience = setTimeout(() => this.#goOnWithoutAnswer(), PATIENCE_MS)
  }

  get state(): MareaState {
    return this.#decided || this.#closed ? this.#connection.state : OPENING
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  retry = (): void => this.#connection.retry()

  ready(): Promise<Marea> {
    return new Promise((resolve, reject) => {
      const settle = (): boolean => {
        const { marea, error } = this.state
        if (marea) resolve(marea)
        else if (error) reject(error)
        else if (this.#closed) reject(new MareaError('closed', 'Marea was closed; open it again.', false))
        else return false
        return true
      }
      if (settle()) return
      const stop = this.subscribe(() => settle() && stop())
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#patience)
    this.#unsubscribe()
    await this.#connection.close()
    this.#tell()
  }

  #heard(event: string, session: SupabaseSession | null): void {
    if (session) this.#signedIn(session)
    else if (event === 'SIGNED_OUT') void this.#saidToBeSignedOut()
    else setTimeout(() => void this.#askWhyNobody(), 0)
  }

  #signedIn(session: SupabaseSession): void {
    const sameUser = this.#connection.state.marea !== null && this.#memory.recall() === session.user.id
    this.#session = session
    this.#memory.remember(session.user.id)
    this.#decide(session.user.id)
    // The mirror that is open may be waiting for just this token.
    if (sameUser) void this.#connection.state.marea?.tokenChanged().catch(() => undefined)
  }

  /** While a token is good by this device's clock, only a person signs out. Afterwards the client does so by itself too. */
  async #saidToBeSignedOut(): Promise<void> {
    const session = this.#session
    // It says so before it answers. The mirror of an account that is deleted stays open: what is unsent is only there.
    const error = (await this.#asked)?.error
    if (isDeleted(error)) return
    const mayBeAnError = !session || (session.expires_at !== undefined && session.expires_at * 1000 <= Date.now())
    // For want of an answer the client ends no session, but for any answer that is no token: a limit of the rate, a portal's page.
    const isPutOff = !!error && error.name !== UNREACHED.name && !isVerdict(error)
    if (mayBeAnError && (isPutOff || (session && (await this.#isAlive(session))))) return
    // Somebody may have signed in meanwhile.
    if (this.#session === session && !this.#closed) this.#signedOut()
  }

  /**
   * Whether the session may be one still: the server has not said that it is none. Asked more than once: a sign-out reaches it after it
   * is told here.
   */
  async #isAlive({ access_token }: SupabaseSession): Promise<boolean> {
    const { url } = this.#options
    const headers = { apikey: keyOf(this.#options), authorization: `Bearer ${access_token}` }
    for (const pauseMs of SIGN_OUT_PAUSES_MS) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
      // Followed, the token would go to a stranger.
      const asked = fetch(`${url.replace(/\/+$/, '')}/auth/v1/user`, { headers, redirect: 'error' })
      // Without a network no server can have refused anything: a person has signed out.
      const unasked = (): number => (navigator.onLine === false ? OVER_STATUS[0]! : 0)
      const status = await asked.then((answer) => answer.status, unasked)
      if (OVER_STATUS.includes(status)) return false
    }
    return true
  }

  #signedOut(): void {
    this.#session = null
    this.#memory.forget()
    this.#decide(null)
  }

  /** "No session" may mean that nobody is signed in, or that the server could not be asked. */
  async #askWhyNobody(): Promise<void> {
    const { data, error } = await this.#ask(false)
    if (this.#closed) return
    if (data.session) this.#signedIn(data.session)
    else if (error && (!isVerdict(error) || isDeleted(error))) this.#decide(this.#memory.recall())
    else this.#signedOut()
  }

  #goOnWithoutAnswer(): void {
    const userId = this.#memory.recall()
    if (!this.#decided && userId) this.#decide(userId)
  }

  #decide(userId: string | null): void {
    if (this.#closed) return
    this.#decided = true
    const getAccessToken = (fresh: boolean): Promise<string | null> => this.#token(userId, fresh)
    const { guests = false, ...options } = this.#options
    if (userId !== null) this.#connection.want({ ...options, userId, getAccessToken, claimGuest: guests })
    else this.#connection.want(guests ? { ...options, userId: null } : null)
    this.#tell()
  }

  async #token(userId: string | null, fresh: boolean): Promise<string | null> {
    // The client may have renewed a refused one by itself since; asking for another would be a round trip for nothing.
    const isRefused = fresh && this.#tokenOf(userId) === this.#handedOut
    if (isRefused || this.#tokenOf(userId) === null) {
      const { data, error } = await this.#ask(isRefused)
      if (isDeleted(error)) throw new MareaError('account_deleted', 'The account no longer exists on the server.', false)
      // Not "nobody is signed in": the engine is to ask again.
      if (error && !isVerdict(error)) throw new Error(error.name)
      this.#session = data.session
    }
    this.#handedOut = this.#tokenOf(userId)
    return this.#handedOut
  }

  #tokenOf(userId: string | null): string | null {
    return this.#session?.user.id === userId ? (this.#session?.access_token ?? null) : null
  }

  async #ask(fresh: boolean): Promise<SessionAnswer> {
    const unreached = (): SessionAnswer => ({ data: { session: null }, error: UNREACHED })
    const ask = (): Promise<SessionAnswer> => (fresh ? this.#auth.refreshSession() : this.#auth.getSession())
    const asked = (this.#asked = Promise.resolve().then(ask).catch(unreached))
    try {
      return await asked
    } finally {
      if (this.#asked === asked) this.#asked = null
    }
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}

const UNREACHED = { name: 'AuthRetryableFetchError' }

// What the sign-in service calls the end of a session: as native/src/auth/gotrue.rs.
const OVER = ['refresh_token_not_found', 'refresh_token_already_used', 'session_not_found', 'session_expired', 'user_banned', 'user_not_found']

/**
 * Whether the sign-in service itself has said that the sign-in is over. Everything else (no network, a limit of the rate, a gateway or
 * a hook that failed) may pass.
 */
function isVerdict({ name, status = 0, code, message = '' }: AuthError): boolean {
  // The client's own word: it keeps no session.
  if (name === 'AuthSessionMissingError') return true
  if (status < 400 || status >= 500) return false
  // Versions without codes say it in words.
  return code ? OVER.includes(code) : status === 400 && message.startsWith('Invalid Refresh Token')
}

function isDeleted(error: AuthError | null | undefined): boolean {
  return error?.code === 'user_not_found' && isVerdict(error)
}

/** The last user's id, if the browser keeps anything at all. */
class Memory {
  readonly #key: string

  constructor(key: string) {
    this.#key = key
  }

  recall(): string | null {
    return quietly(() => localStorage.getItem(this.#key)) ?? null
  }

  remember(userId: string): void {
    quietly(() => localStorage.setItem(this.#key, userId))
  }

  forget(): void {
    quietly(() => localStorage.removeItem(this.#key))
  }
}

/** Storage that is switched off throws at the first touch. Without it a start without a network needs a token in date. */
function quietly<T>(call: () => T): T | undefined {
  try {
    return call()
  } catch {
    return undefined
  }
}
