// How an open mirror is reached. Types only.

import type { Answer, Args, Method } from './protocol.js'

/** By a tab among tabs (tab.ts), or by the native engine (native/native.ts). */
export interface Access {
  /** Whose mirror it is. */
  readonly userId: string
  /** Whether it is open here, and not in another tab. */
  readonly leads: boolean
  /** At which minute after midnight the learner's day begins. */
  dayStart: number
  call<M extends Method>(method: M, ...args: Args<M>): Promise<Answer<M>>
  /** Closes it here. Writes that wait are still done; all later calls reject. */
  leave(): Promise<void>
  /** Takes the mirror off the device. */
  erase(): Promise<void>
}
