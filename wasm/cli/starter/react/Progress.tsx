import { MareaProvider, useMarea, useProgress } from '@marea/client/react'
import { account } from './marea'

export function Progress() {
  return (
    <MareaProvider source={account}>
      <Today />
    </MareaProvider>
  )
}

function Today() {
  const { marea } = useMarea()
  const { data } = useProgress()
  return (
    <button disabled={!marea} onClick={() => marea?.recordSession({ session_type: 'qa', duration_minutes: 5 })}>
      {data?.total_sessions ?? 0} sessions
    </button>
  )
}
