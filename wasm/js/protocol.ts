// What page and worker say to each other. Types only: nothing here runs.
//
// The channel is not tied to one page and one worker: every call carries an id, and nothing refers to who sent it.

import type { WireError } from './errors.js'
import type { ActivityDay, ClientStatus, Progress, Recorded, SessionInput, SyncReport } from './types.js'

/** What the worker needs to open a mirror. The access token is asked for when it is needed, never kept. */
export interface WorkerOptions {
  url: string
  anonKey: string
  userId: string
  online: boolean
}

/** News from the page's surroundings that the engine reconsiders its next attempt for. */
export type SignalName = 'online' | 'offline' | 'visible' | 'new_token'

/** What can be read anew after something changed. */
export type Topic = 'progress' | 'status'

/** The calls, each with its arguments and its answer. */
export interface Methods {
  open(options: WorkerOptions): void
  recordSession(input: SessionInput): Recorded
  progress(): Progress
  activity(from: string, to: string): ActivityDay[]
  status(): ClientStatus
  sync(): SyncReport
  signal(name: SignalName): void
  setOnline(online: boolean): void
  close(): void
}

export type Method = keyof Methods
export type Args<M extends Method> = Parameters<Methods[M]>
export type Answer<M extends Method> = ReturnType<Methods[M]>

export type ToWorker =
  | { kind: 'call'; id: number; method: Method; args: unknown[] }
  | { kind: 'token'; id: number; token: string | null }

export type ToPage =
  | { kind: 'answer'; id: number; value: unknown }
  | { kind: 'failure'; id: number; error: WireError }
  | { kind: 'token-wanted'; id: number; fresh: boolean }
  | { kind: 'changed'; topics: Topic[] }
