// supabase-js and Marea: whose mirror is open follows who is signed in, and tokens come from where the app has them.
//
// Typed by what it uses of the app's client, so the package depends on no version of it.
//
// The trap that this file is about: an access token lives for an hour, and a client that cannot reach the server to
// renew it says "no session", as if nobody were signed in. A learner on a train would lose sight of their own work. So
// the last user's id is remembered (nothing else is), and forgotten when that user signs out.

import { Connection, OPENING } from './connection.js'
import type { MareaSource, MareaState } from './connection.js'
import { MareaError } from './errors.js'
import type { Marea } from './marea.js'
import type { OpenOptions } from './open.js'

/** As much of a session of supabase-js as is used here. */
export interface SupabaseSession {
  access_token: string
  user: { id: string }
}

interface SessionAnswer {
  data: { session: SupabaseSession | null }
  error: { name: string; status?: number | undefined } | null
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

export type SupabaseOptions = Omit<OpenOptions, 'userId' | 'getAccessToken'>

/** The mirror of whoever is signed in. */
export interface Account extends MareaSource {
  /** The mirror of the signed-in user, once it is open. Rejects when it cannot be opened, and after `close`. */
  ready(): Promise<Marea>
  /** Stops following the client and closes the mirror. Signs nobody out. */
  close(): Promise<void>
}

// How long the client may take to say who is signed in before the user of last time is taken. It knows at once unless
// it has to renew a token and has no network.
const PATIENCE_MS = 400

/**
 * Opens the mirror of whoever is signed in with `client`, now and after each sign-in; closes it at sign-out. What is
 * unsent stays on the device for that user's next sign-in.
 *
 * Starts without a network too, also when the token that the client keeps has expired.
 */
export function openWithSupabase(client: SupabaseLike, options: SupabaseOptions): Account {
  return new SupabaseAccount(client, options)
}

class SupabaseAccount implements Account {
  readonly #client: SupabaseLike
  readonly #options: SupabaseOptions
  readonly #connection = new Connection()
  readonly #memory: Memory
  readonly #unsubscribe: () => void
  readonly #patience: ReturnType<typeof setTimeout>
  readonly #listeners = new Set<() => void>()
  /** False until it is decided that somebody is signed in, or that nobody is. */
  #decided = false
  #closed = false
  #lastToken: string | null = null

  constructor(client: SupabaseLike, options: SupabaseOptions) {
    this.#client = client
    this.#options = options
    this.#memory = new Memory(`marea.user:${options.url}`)
    this.#connection.subscribe(() => this.#tell())
    this.#patience = setTimeout(() => this.#goOnWithoutAnswer(), PATIENCE_MS)
    // The client calls back while it holds a lock of its own, so nothing of it may be awaited in there.
    const { data } = client.auth.onAuthStateChange((event, session) => this.#heard(event, session))
    this.#unsubscribe = () => data.subscription.unsubscribe()
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
    else if (event === 'SIGNED_OUT') this.#signedOut()
    else setTimeout(() => void this.#askWhyNobody(), 0)
  }

  #signedIn(session: SupabaseSession): void {
    const sameUser = this.#connection.state.marea !== null && this.#memory.recall() === session.user.id
    this.#memory.remember(session.user.id)
    this.#decide(session.user.id)
    // The mirror that is open may be waiting for just this token.
    if (sameUser) void this.#connection.state.marea?.tokenChanged().catch(() => undefined)
  }

  #signedOut(): void {
    this.#memory.forget()
    this.#decide(null)
  }

  /** "No session" may mean that nobody is signed in, or that the server could not be asked. */
  async #askWhyNobody(): Promise<void> {
    const { data, error } = await this.#session(false)
    if (this.#closed) return
    if (data.session) this.#signedIn(data.session)
    else if (error && unreached(error)) this.#decide(this.#memory.recall())
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
    this.#connection.want(userId === null ? null : { ...this.#options, userId, getAccessToken })
    this.#tell()
  }

  async #token(userId: string | null, fresh: boolean): Promise<string | null> {
    let { data } = await this.#session(false)
    // The client may have renewed it by itself since; asking for another one would be a round trip for nothing.
    if (fresh && data.session?.access_token === this.#lastToken) ({ data } = await this.#session(true))
    this.#lastToken = data.session?.user.id === userId ? (data.session?.access_token ?? null) : null
    return this.#lastToken
  }

  async #session(fresh: boolean): Promise<SessionAnswer> {
    const { auth } = this.#client
    try {
      return await (fresh ? auth.refreshSession() : auth.getSession())
    } catch {
      return { data: { session: null }, error: UNREACHED }
    }
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}

const UNREACHED = { name: 'AuthRetryableFetchError' }

/** Whether the client says that it could not ask, rather than that the answer was no. */
function unreached(error: { name: string }): boolean {
  return error.name === UNREACHED.name
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
