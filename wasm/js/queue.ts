// The beginning of the queue, for those who look again after every change: sent again only when it has changed.
//
// A write adds to the queue's end. So as long as nothing else happens to the queue, its beginning stays as it is.

import type { MareaEngine } from './marea_wasm.js'
import type { MutationView, QueueView } from './types.js'

/**
 * What waits for the server, and what it refused: how many, and the first of them, oldest first. All of them are in `pending()`
 * and `rejected()`.
 */
export type Queue = QueueView

/** How much of the queue a watcher is told. */
export interface QueueOptions {
  /** Of each list, at most so many: 1 to 1,000, and 100 unless it is given. */
  limit?: number
}

/** What a page has of the queue already. */
export interface KnownQueue {
  mark: string
  /** How many of those that wait. */
  pending: number
}

/** The lists are left out where the page has them. */
export interface QueueAnswer {
  mark: string
  pending_count: number
  rejected_count: number
  lists: { pending: MutationView[]; rejected: MutationView[] } | null
}

/** The leader's side. `mark` is another one whenever anything but a write has happened to the queue. */
export function answerQueue(engine: MareaEngine, mark: string, limit: number, known: KnownQueue | null): QueueAnswer {
  if (known?.mark === mark) {
    const { pending: pending_count, rejected: rejected_count } = engine.status()
    const isSame = known.pending >= limit || known.pending === pending_count
    if (isSame) return { mark, pending_count, rejected_count, lists: null }
  }
  const { pending_count, rejected_count, ...lists } = engine.queue(limit)
  return { mark, pending_count, rejected_count, lists }
}

/** The page's side: reads the queue again and again. */
export function queueReader(
  ask: (known: KnownQueue | null) => Promise<QueueAnswer>,
): () => Promise<QueueView> {
  let last: (NonNullable<QueueAnswer['lists']> & { mark: string }) | null = null
  return async () => {
    const known = last && { mark: last.mark, pending: last.pending.length }
    const { mark, pending_count, rejected_count, lists } = await ask(known)
    if (lists) last = { mark, ...lists }
    return { pending_count, rejected_count, pending: last?.pending ?? [], rejected: last?.rejected ?? [] }
  }
}
