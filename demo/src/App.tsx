// The page: nobody signed in, or somebody.

import { useEffect, useState, useSyncExternalStore } from 'react'
import { loadConfig } from './config'
import type { Config } from './config'
import { Home } from './parts/Home'
import { Notice } from './parts/Notice'
import { SignIn } from './parts/SignIn'
import { Sessions } from './session'

type Started = { config: Config; sessions: Sessions } | { failed: string } | null

export function App() {
  const [started, setStarted] = useState<Started>(null)
  useEffect(() => {
    loadConfig().then(
      (config) => setStarted({ config, sessions: new Sessions(config) }),
      (error: Error) => setStarted({ failed: error.message }),
    )
  }, [])

  if (!started) return null
  if ('failed' in started) {
    return <Notice title="The page does not know its backend">{started.failed}</Notice>
  }
  return <SignedInOrOut config={started.config} sessions={started.sessions} />
}

function SignedInOrOut({ config, sessions }: { config: Config; sessions: Sessions }) {
  const session = useSyncExternalStore(sessions.subscribe, sessions.getSnapshot)
  if (!session) return <SignIn sessions={sessions} />
  // A new learner is a new mirror: nothing of the one before stays on the screen.
  return <Home key={session.userId} config={config} sessions={sessions} session={session} />
}
