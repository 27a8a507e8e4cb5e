// The state of the sync in words a learner understands. Pure, and nothing else.

import type { ClientStatus } from '@marea/client'

export interface Tide {
  /** What the picture shows: in (all sent), out (something waits, or no network), turning (under way), stuck. */
  level: 'in' | 'out' | 'turning' | 'stuck'
  title: string
  text: string
}

export function tideOf(status: ClientStatus | null, airplane: boolean, stale: boolean): Tide {
  if (!status) return { level: 'turning', title: 'Opening', text: 'Your progress is being read from this device.' }
  const waiting = count(status.pending)
  if (stale) {
    return { level: 'stuck', title: 'Please sign in again', text: `${kept(status.pending)} Nothing is lost meanwhile.` }
  }
  if (airplane) {
    return { level: 'out', title: 'Airplane mode', text: `${kept(status.pending)} Switch it off to send.` }
  }
  if (status.connection === 'offline') {
    return { level: 'out', title: 'No connection', text: `${kept(status.pending)} It is sent when the network is back.` }
  }
  if (status.last_error) {
    return { level: 'stuck', title: 'The server cannot take it yet', text: `${kept(status.pending)} Marea tries again.` }
  }
  if (status.syncing || status.pending > 0) {
    return { level: 'turning', title: 'On its way', text: status.pending > 0 ? `Sending ${waiting}.` : 'Looking for news.' }
  }
  return { level: 'in', title: 'All in', text: 'Everything you did has reached the server.' }
}

function count(pending: number): string {
  return pending === 1 ? '1 session' : `${pending} sessions`
}

function kept(pending: number): string {
  if (pending === 0) return 'What you do now is kept on this device.'
  return `${count(pending)} ${pending === 1 ? 'is' : 'are'} safe on this device.`
}
