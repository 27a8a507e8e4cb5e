// The state of the sync as a learner understands it. Pure, and nothing else.

import type { ClientStatus } from '@marea/client'
import type { Session } from './session'
import type { Words } from './words'

export interface SyncState {
  /** What the mark shows. */
  level: 'opening' | 'synced' | 'sending' | 'offline' | 'stuck'
  title: string
  text: string
}

export function syncStateOf(t: Words, status: ClientStatus | null, airplane: boolean, session: Pick<Session, 'stale' | 'guest'>): SyncState {
  const said = (level: SyncState['level'], words: readonly string[]): SyncState => ({ level, title: words[0] ?? '', text: words[1] ?? '' })
  if (!status) return said('opening', t.sync.opening)
  const { pending } = status
  if (session.guest) return said('offline', t.sync.guest(pending))
  if (session.stale) return said('stuck', t.sync.stale(pending))
  // The developer tools have a switch too.
  if (airplane || status.paused) return said('offline', t.sync.airplane(pending))
  if (status.connection === 'offline') return said('offline', t.sync.offline(pending))
  // Before the first attempt of this visit, the error is one of an earlier visit, and says nothing about now.
  if (status.last_error && status.connection === 'online') return said('stuck', t.sync.stuck(pending))
  if (pending > 0) return said('sending', t.sync.sending(pending))
  if (status.rejected > 0) return said('stuck', t.sync.refused(status.rejected))
  return said('synced', t.sync.synced)
}
