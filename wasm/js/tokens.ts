// Access tokens for the leader: its own page is asked first, then all other tabs. None is kept.
//
// A page that does not answer (it may be busy, or its app may be waiting for a network) must not hold up the rest.

import { MareaError, toWire } from './errors.js'
import type { Token, TokenWanted } from './protocol.js'

const OWN_PAGE_WAIT_MS = 10_000
// After so long the other tabs are asked beside it.
const OWN_PAGE_ALONE_MS = 2_000
const OTHER_TABS_WAIT_MS = 2_000

/** What a tab answers: a token, null when nobody is signed in, or that its app could not say. */
export type TokenAnswer = Pick<Token, 'token' | 'failed' | 'deleted'>

const FAILED: TokenAnswer = { token: null, failed: true }

export class Tokens {
  readonly #askOwnPage: (question: TokenWanted) => void
  readonly #askOthers: (question: TokenWanted) => boolean
  readonly #wanted = new Map<number, (answer: TokenAnswer) => void>()
  #nextId = 1

  /** `askOthers` says whether there is anybody to ask. */
  constructor(askOwnPage: (question: TokenWanted) => void, askOthers: (question: TokenWanted) => boolean) {
    this.#askOwnPage = askOwnPage
    this.#askOthers = askOthers
  }

  /** A token; null when nobody is signed in. Rejects when that could not be found out now: the engine asks again. */
  async get(fresh: boolean): Promise<string | null> {
    const asked = this.#ask(this.#askOwnPage, fresh, OWN_PAGE_WAIT_MS)
    const soon = await Promise.race([asked, pause(OWN_PAGE_ALONE_MS)])
    if (soon?.token) return soon.token
    // Other tabs answer only when they have one: with none, the time has to run out.
    const other = await this.#ask(this.#askOthers, fresh, OTHER_TABS_WAIT_MS)
    if (other.token !== null) return other.token
    const own = await asked
    if (own.token !== null) return own.token
    if (own.deleted) throw new MareaError('account_deleted', 'The account no longer exists on the server.', false)
    if (own.failed) throw new Error('no page could say whether somebody is signed in')
    return null
  }

  answered(id: number, answer: TokenAnswer): void {
    this.#wanted.get(id)?.(answer)
  }

  #ask(ask: (question: TokenWanted) => boolean | void, fresh: boolean, waitMs: number): Promise<TokenAnswer> {
    const id = this.#nextId++
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(FAILED), waitMs)
      const settle = (answer: TokenAnswer): void => {
        clearTimeout(timer)
        this.#wanted.delete(id)
        resolve(answer)
      }
      this.#wanted.set(id, settle)
      if (ask({ kind: 'token-wanted', id, fresh }) === false) settle(FAILED)
    })
  }
}

const pause = (ms: number): Promise<null> => new Promise((resolve) => setTimeout(resolve, ms, null))

/** Asks the app of a tab. */
export async function askApp(
  tokenWanted: (fresh: boolean) => Promise<string | null>,
  fresh: boolean,
): Promise<TokenAnswer> {
  try {
    const token = await tokenWanted(fresh)
    return { token: typeof token === 'string' && token !== '' ? token : null }
  } catch (error) {
    // The app could not say (no network, a fault of its own). Why is its own affair; the engine asks again.
    return toWire(error).code === 'account_deleted' ? { ...FAILED, deleted: true } : FAILED
  }
}
