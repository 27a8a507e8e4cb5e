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
    return { level: 'out', title: 'Tide out', text: `${kept(status.pending)} Airplane mode is on.` }
  }
  if (status.connection === 'offline') {
    return { level: 'out', title: 'Tide out', text: `${kept(status.pending)} There is no connection to the server.` }
  }
  // Before the first attempt of this visit, the error is one of an earlier visit, and says nothing about now.
  if (status.last_error && status.connection === 'online') {
    return { level: 'stuck', title: 'Slack water', text: `${kept(status.pending)} The server cannot take it now.` }
  }
  if (status.pending > 0) return { level: 'turning', title: 'Tide turning', text: `Sending ${waiting}.` }
  return { level: 'in', title: 'Tide in', text: 'Everything you did has reached the server.' }
}

function count(pending: number): string {
  return pending === 1 ? '1 session' : `${pending} sessions`
}

function kept(pending: number): string {
  if (pending === 0) return 'What you do now is kept on this device.'
  return `${count(pending)} ${pending === 1 ? 'is' : 'are'} safe on this device.`
}
