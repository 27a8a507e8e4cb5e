// Access tokens for the leader: its own page is asked first, then all other tabs. None is kept.

import type { TokenWanted } from './protocol.js'

// A page that does not answer (it may be busy, or its app may be waiting for a network) must not hold up the rest.
const OWN_PAGE_WAIT_MS = 10_000
const OTHER_TABS_WAIT_MS = 2_000

export class Tokens {
  readonly #askOwnPage: (question: TokenWanted) => void
  readonly #askOthers: (question: TokenWanted) => boolean
  readonly #wanted = new Map<number, (token: string | null) => void>()
  #nextId = 1

  /** `askOthers` says whether there is anybody to ask. */
  constructor(askOwnPage: (question: TokenWanted) => void, askOthers: (question: TokenWanted) => boolean) {
    this.#askOwnPage = askOwnPage
    this.#askOthers = askOthers
  }

  async get(fresh: boolean): Promise<string | null> {
    const own = await this.#ask(this.#askOwnPage, fresh, OWN_PAGE_WAIT_MS)
    // Other tabs answer only when they have one: with none, the time has to run out.
    return own ?? this.#ask(this.#askOthers, fresh, OTHER_TABS_WAIT_MS)
  }

  answered(id: number, token: string | null): void {
    this.#wanted.get(id)?.(token)
  }

  #ask(ask: (question: TokenWanted) => boolean | void, fresh: boolean, waitMs: number): Promise<string | null> {
    const id = this.#nextId++
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(null), waitMs)
      const settle = (token: string | null): void => {
        clearTimeout(timer)
        this.#wanted.delete(id)
        resolve(token)
      }
      this.#wanted.set(id, settle)
      if (ask({ kind: 'token-wanted', id, fresh }) === false) settle(null)
    })
  }
}

/** Asks the app of a tab. */
export async function askApp(
  tokenWanted: (fresh: boolean) => Promise<string | null>,
  fresh: boolean,
): Promise<string | null> {
  try {
    const token = await tokenWanted(fresh)
    return typeof token === 'string' && token !== '' ? token : null
  } catch {
    // The app has no token now (offline, signed out). Why is its own affair; the engine asks again later.
    return null
  }
}
