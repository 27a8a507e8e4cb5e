// Access tokens for the leader: its own page is asked first, then all other tabs. None is kept but one that came too late.
//
// A page that does not answer (it may be busy, or its app may be waiting for a network) must not hold up the rest. Its answer is
// still waited for: an app that signs in anew each time, and needs longer for it than a request waits, would never get anywhere.

import { MareaError, toWire } from './errors.js'
import type { Token, TokenWanted } from './protocol.js'

const OWN_PAGE_WAIT_MS = 10_000
// After so long the other tabs are asked beside it.
const OWN_PAGE_ALONE_MS = 2_000
const OTHER_TABS_WAIT_MS = 2_000
// A question that has no answer for so long is lost, and the own page is asked again.
const ANSWER_LIMIT_MS = 60_000
// A token that comes too late is for the next request: the engine's longest wait after a failure.
const LATE_KEPT_MS = 5 * 60_000

/** What a tab answers: a token, null when nobody is signed in, or that its app could not say. */
export type TokenAnswer = Pick<Token, 'token' | 'failed' | 'deleted'>

const FAILED: TokenAnswer = { token: null, failed: true }

type Ask = (question: TokenWanted) => boolean | void

/** A question that is not answered yet. */
interface Question {
  ask: Ask
  fresh: boolean
  /** How many wait for its answer: none, once all have given up. */
  waiting: number
  answer: Promise<TokenAnswer>
  settle(answer: TokenAnswer): void
}

export class Tokens {
  readonly #askOwnPage: Ask
  readonly #askOthers: Ask
  readonly #open = new Map<number, Question>()
  /** What came when nothing waited for it any more, by whether a fresh token was asked for. */
  readonly #late = new Map<boolean, TokenAnswer>()
  #nextId = 1

  /** `askOthers` says whether there is anybody to ask. */
  constructor(askOwnPage: (question: TokenWanted) => void, askOthers: (question: TokenWanted) => boolean) {
    this.#askOwnPage = askOwnPage
    this.#askOthers = askOthers
  }

  /** A token; null when nobody is signed in. Rejects when that could not be found out now: the engine asks again. */
  async get(fresh: boolean): Promise<string | null> {
    const late = this.#late.get(fresh)
    this.#late.delete(fresh)
    const asked = late ?? this.#ask(this.#askOwnPage, fresh, OWN_PAGE_WAIT_MS)
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
    const question = this.#open.get(id)
    if (!question) return
    this.#open.delete(id)
    question.settle(answer)
    // That nobody is signed in may be over by the next request.
    if (question.waiting > 0 || !(answer.token || answer.deleted)) return
    this.#late.set(question.fresh, answer)
    setTimeout(() => this.#late.get(question.fresh) === answer && this.#late.delete(question.fresh), LATE_KEPT_MS)
  }

  async #ask(ask: Ask, fresh: boolean, waitMs: number): Promise<TokenAnswer> {
    // The own page says in any case what there is; other tabs answer only when they have one.
    const isSame = (open: Question): boolean => ask === this.#askOwnPage && open.ask === ask && open.fresh === fresh
    const question = [...this.#open.values()].find(isSame) ?? this.#begin(ask, fresh)
    question.waiting++
    const answer = await Promise.race([question.answer, pause(waitMs)])
    question.waiting--
    return answer ?? FAILED
  }

  #begin(ask: Ask, fresh: boolean): Question {
    const id = this.#nextId++
    let settle!: Question['settle']
    const answer = new Promise<TokenAnswer>((resolve) => (settle = resolve))
    const question = { ask, fresh, waiting: 0, answer, settle }
    this.#open.set(id, question)
    setTimeout(() => this.#open.delete(id), ANSWER_LIMIT_MS)
    if (ask({ kind: 'token-wanted', id, fresh }) === false) this.answered(id, FAILED)
    return question
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
