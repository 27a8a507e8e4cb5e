'use client'

import { MareaProvider, useMarea, useProgress, useSyncStatus } from '@marea/client/react'

export function Signed({ url, publishableKey, userId, token }: { url: string; publishableKey: string; userId: string; token: string }) {
  return (
    <MareaProvider options={{ url, publishableKey, userId, getAccessToken: () => token }}>
      <Learned />
    </MareaProvider>
  )
}

function Learned() {
  const { state, marea } = useMarea()
  const { data: progress } = useProgress()
  const { data: status } = useSyncStatus()
  return (
    <main>
      <output id="state">{state}</output>
      <output id="sessions">{progress?.total_sessions}</output>
      <output id="pending">{status?.pending}</output>
      <button id="record" onClick={() => void marea?.recordSession({ session_type: 'qa', duration_minutes: 5 })}>
        Record
      </button>
    </main>
  )
}
