// Everything that `@marea/client/react` gives, in StrictMode, steered by the page's address and by the tests.

import { MareaProvider, useActivity, useMarea, useProgress, useSyncStatus } from '@marea/client/react'
import type { GuestOptions, OpenOptions } from '@marea/client'
import { StrictMode, useState } from 'react'
import { createRoot } from 'react-dom/client'

interface Learner {
  userId: string
  token: string
}

declare global {
  interface Window {
    /** Who is signed in, as the tests say; a guest has not yet. */
    setLearner(learner: Learner | 'guest' | null): void
    /** Takes the whole tree away and puts it back, as fast refresh does after an edit that it cannot carry over. */
    remount(): void
    /** Shows or hides the part that uses the hooks. */
    setShown(shown: boolean): void
    renders: number
  }
}

const asked = new URLSearchParams(location.search)
const account: Learner | null = asked.get('userId') ? { userId: asked.get('userId')!, token: asked.get('token')! } : null
const first = asked.has('guest') ? 'guest' : account
window.renders = 0

function App() {
  const [learner, setLearner] = useState<Learner | 'guest' | null>(first)
  const [tree, setTree] = useState(0)
  const [shown, setShown] = useState(true)
  window.setLearner = setLearner
  window.remount = () => setTree((count) => count + 1)
  window.setShown = setShown
  // A new object and a new function with each render, as apps write it.
  const server = { url: asked.get('url')!, publishableKey: asked.get('publishableKey')! }
  const options: OpenOptions | GuestOptions | null =
    learner === 'guest'
      ? { ...server, userId: null }
      : learner && { ...server, userId: learner.userId, getAccessToken: () => learner.token, claimGuest: true }
  return (
    <MareaProvider key={tree} options={options}>
      <State />
      {shown && <Learned />}
      {shown && <Learned copy />}
    </MareaProvider>
  )
}

function State() {
  const { state, marea, error } = useMarea()
  const record = () => void marea?.recordSession({ session_type: 'qa', duration_minutes: 5, qa_attempts: 4, qa_correct: 3 })
  return (
    <>
      <output id="state">{state}</output>
      <output id="error">{error?.code}</output>
      <output id="guest">{marea && String(marea.isGuest)}</output>
      <button id="record" disabled={!marea} onClick={record}>
        Record
      </button>
    </>
  )
}

function Learned({ copy = false }: { copy?: boolean }) {
  const { data: progress } = useProgress()
  const { data: status } = useSyncStatus()
  const { data: days } = useActivity({ days: 7 })
  if (!copy) window.renders++
  const name = (part: string) => (copy ? `${part}-copy` : part)
  return (
    <>
      <output id={name('sessions')}>{progress?.total_sessions}</output>
      <output id={name('pending')}>{status?.pending}</output>
      <output id={name('today')}>{days?.at(-1)?.sessions}</output>
    </>
  )
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
