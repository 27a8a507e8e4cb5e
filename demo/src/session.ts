// Who is signed in, and the tokens to show for it. Kept in localStorage, so that the page opens offline.
//
// Speaks the part of Supabase's /auth/v1 that the demo needs; an app would use supabase-js. A refresh that fails for
// want of a network never signs anybody out.

import type { Config } from './config'
import { keep, readKept } from './device'

export interface Session {
  userId: string
  email: string
  accessToken: string
  refreshToken: string
  /** When the access token ends, by this device's clock, in Unix milliseconds. */
  expiresAtMs: number
  /** The server no longer accepts the refresh token: the learner has to sign in again, and loses nothing by it. */
  stale?: boolean
  /** Nobody has signed in. What is done is kept on this device, and comes into the account at a sign-in. */
  guest?: boolean
}

const GUEST: Session = { userId: 'guest', email: '', accessToken: '', refreshToken: '', expiresAtMs: 0, guest: true }

interface TokenAnswer {
  access_token: string
  refresh_token: string
  expires_in: number
  user: { id: string; email: string }
}

const KEY = 'session'
// A token this close to its end may be refused by the time it arrives.
const SPARE_MS = 30_000
/** What the sign-in service calls the end of a sign-in. */
const OVER = ['refresh_token_not_found', 'refresh_token_already_used', 'session_not_found', 'session_expired', 'user_banned', 'user_not_found']

/** Why signing in failed: the server could not be reached, or said no, with its words where it gave some. */
export class SignInError extends Error {
  readonly reached: boolean

  constructor(message: string, reached: boolean) {
    super(message)
    this.reached = reached
  }
}

export class Sessions {
  readonly #config: Config
  readonly #listeners = new Set<() => void>()
  #current: Session | null
  #refreshing: Promise<string | null> | null = null

  constructor(config: Config) {
    this.#config = config
    this.#current = config.guest ? GUEST : read()
  }

  get current(): Session | null {
    return this.#current
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  getSnapshot = (): Session | null => this.#current

  signIn(email: string, password: string): Promise<void> {
    return this.#enter('token?grant_type=password', { email, password })
  }

  signUp(email: string, password: string): Promise<void> {
    return this.#enter('signup', { email, password })
  }

  enterAsGuest(): void {
    this.#set(GUEST)
  }

  /** Forgets the tokens. The learner's mirror, with whatever is unsent, stays on the device for the next sign-in. */
  signOut(): void {
    this.#set(null)
  }

  /** The token to use now. `fresh`: the last one was refused. */
  async accessToken(fresh: boolean): Promise<string | null> {
    const session = this.#current
    if (!session || session.stale || session.guest) return null
    if (!fresh && session.expiresAtMs - Date.now() > SPARE_MS) return session.accessToken
    this.#refreshing ??= this.#refresh(session).finally(() => (this.#refreshing = null))
    return this.#refreshing
  }

  async #refresh(session: Session): Promise<string | null> {
    let answer: Response
    try {
      answer = await this.#post('token?grant_type=refresh_token', { refresh_token: session.refreshToken })
    } catch {
      // No network. The old token will not do either, but trying it lets the engine see that it is offline.
      return session.accessToken
    }
    if (this.#current !== session) return null
    if (answer.ok) {
      const next = toSession((await answer.json()) as TokenAnswer)
      this.#set(next)
      return next.accessToken
    }
    // Only the sign-in service, by a code of its own, says that a sign-in is over. Everything else may pass: the engine asks again.
    const { error_code: code } = (await answer.json().catch(() => ({}))) as { error_code?: string }
    if (!code || !OVER.includes(code)) throw new Error(`HTTP ${answer.status}`)
    this.#set({ ...session, stale: true })
    return null
  }

  async #enter(path: string, body: object): Promise<void> {
    let answer: Response
    try {
      answer = await this.#post(path, body)
    } catch {
      throw new SignInError('', false)
    }
    if (!answer.ok) throw new SignInError(await reason(answer), true)
    this.#set(toSession((await answer.json()) as TokenAnswer))
  }

  #post(path: string, body: object): Promise<Response> {
    return fetch(`${this.#config.url}/auth/v1/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', apikey: this.#config.anonKey },
      body: JSON.stringify(body),
      // Followed, the password would go to a stranger.
      redirect: 'error',
    })
  }

  #set(session: Session | null): void {
    this.#current = session
    keep(KEY, session && JSON.stringify(session))
    for (const listener of this.#listeners) listener()
  }
}

function toSession(answer: TokenAnswer): Session {
  return {
    userId: answer.user.id,
    email: answer.user.email,
    accessToken: answer.access_token,
    refreshToken: answer.refresh_token,
    expiresAtMs: Date.now() + answer.expires_in * 1000,
  }
}

function read(): Session | null {
  try {
    return JSON.parse(readKept(KEY) ?? 'null') as Session | null
  } catch {
    return null
  }
}

async function reason(answer: Response): Promise<string> {
  const body = (await answer.json().catch(() => ({}))) as Record<string, unknown>
  const text = body['msg'] ?? body['message'] ?? body['error_description']
  return typeof text === 'string' ? text : `The server answered with HTTP ${answer.status}.`
}
