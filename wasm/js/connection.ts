// Which user's mirror is open now, for whoever decides that from outside: a React tree, or an account.
//
// Openings and closings follow one another: the mirror that was desired last is open in the end, and a mirror is
// never opened while another one is still being closed. Decides nothing about who the user is.

import { MareaError } from './errors.js'
import type { Marea } from './marea.js'
import { open } from './open.js'
import type { GuestOptions, OpenOptions } from './open.js'
import { keyOf } from './options.js'

/** Nobody is signed in; the mirror is being opened; it is open; or it could not be opened. */
export type MareaState =
  | { readonly state: 'signed-out' | 'opening'; readonly marea: null; readonly error: null }
  | { readonly state: 'open'; readonly marea: Marea; readonly error: null }
  | { readonly state: 'failed'; readonly marea: null; readonly error: MareaError }

/** Something that has a mirror open, or not, and says when that changes. */
export interface MareaSource {
  /** The state now. The same object until it changes. */
  readonly state: MareaState
  /** Calls `listener` after each change. Returns how to stop. */
  readonly subscribe: (listener: () => void) => () => void
  /** Tries again after a failure. */
  readonly retry: () => void
}

export const SIGNED_OUT: MareaState = { state: 'signed-out', marea: null, error: null }
export const OPENING: MareaState = { state: 'opening', marea: null, error: null }

/** Of a user, or of a guest. */
export type Options = OpenOptions | GuestOptions

const claims = (options: Options | null): boolean => options?.userId != null && options.claimGuest === true

/** One desired mirror at a time, and the one that is open. */
export class Connection implements MareaSource {
  #state: MareaState = SIGNED_OUT
  #desired: Options | null = null
  /** What `#marea` was opened for. */
  #opened: Options | null = null
  #marea: Marea | null = null
  #working: Promise<void> | null = null
  readonly #listeners = new Set<() => void>()

  get state(): MareaState {
    return this.#state
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Says whose mirror is to be open; null for nobody's. The same user at the same place again changes nothing. */
  want(options: Options | null | undefined): void {
    options ??= null
    if (sameMirror(this.#desired, options)) return
    this.#desired = options
    void this.#work()
  }

  /** Nobody's mirror is to be open. Resolves when none is. */
  close(): Promise<void> {
    this.#desired = null
    return this.#work()
  }

  retry = (): void => {
    if (this.#state.state === 'failed') void this.#work()
  }

  #work(): Promise<void> {
    // A state that is no longer true is not shown while the next one is made.
    if (!this.#marea || !sameMirror(this.#desired, this.#opened)) this.#show(this.#desired ? OPENING : SIGNED_OUT)
    this.#working ??= this.#agree().finally(() => (this.#working = null))
    return this.#working
  }

  /** Brings what is open in line with what is wanted, which may change meanwhile. */
  async #agree(): Promise<void> {
    while (!this.#agreed()) {
      const guest = this.#marea?.isGuest && claims(this.#desired) ? this.#marea : null
      if (guest) this.#marea = this.#opened = null
      await this.#closeOpened()
      const wanted = this.#desired
      try {
        if (!wanted) continue
        this.#marea = await open(wanted)
        this.#opened = wanted
        // A guest's mirror in memory would be gone with it: it is claimed before it is closed.
        if (guest) await this.#marea.claim().catch(() => undefined)
      } catch (error) {
        if (!sameMirror(this.#desired, wanted)) continue
        this.#show({ state: 'failed', marea: null, error: asMareaError(error) })
        return
      } finally {
        await guest?.close()
      }
    }
    if (this.#marea) this.#show({ state: 'open', marea: this.#marea, error: null })
    else this.#show(SIGNED_OUT)
  }

  #agreed(): boolean {
    return sameMirror(this.#desired, this.#opened)
  }

  async #closeOpened(): Promise<void> {
    const marea = this.#marea
    this.#marea = null
    this.#opened = null
    await marea?.close()
  }

  #show(state: MareaState): void {
    if (this.#state === state || (state.state === 'open' && this.#state.marea === state.marea)) return
    this.#state = state
    for (const listener of [...this.#listeners]) listener()
  }
}

/** Functions among the options may be new ones with every call; they do not make another mirror. */
function sameMirror(one: Options | null, other: Options | null): boolean {
  if (!one || !other) return one === other
  return one.url === other.url && keyOf(one) === keyOf(other) && one.userId === other.userId
}

function asMareaError(error: unknown): MareaError {
  return error instanceof MareaError ? error : new MareaError('internal', 'Marea could not be opened.', false)
}
