// The page: nobody signed in, or somebody, with a mirror of their own.

import { MareaProvider } from '@marea/client/react'
import { useEffect, useMemo, useState, useSyncExternalStore } from 'react'
import { loadConfig } from './config'
import type { Config } from './config'
import { useSpeech } from './language'
import { schema } from './marea.schema'
import { Home } from './parts/Home'
import { Notice } from './parts/Notice'
import { useRemoteAccount } from './parts/Remote'
import { SignIn } from './pages/SignIn'
import { Sessions } from './session'
import { useAirplane } from './useAirplane'

type Started = { config: Config; sessions: Sessions } | { failed: string } | null

export function App() {
  const { t } = useSpeech()
  const [started, setStarted] = useState<Started>(null)
  useEffect(() => {
    loadConfig().then(
      (config) => setStarted({ config, sessions: new Sessions(config) }),
      (error: Error) => setStarted({ failed: error.message }),
    )
  }, [])

  if (!started) return <p className="boot">marea</p>
  if ('failed' in started) return <Notice title={t.noBackend}>{started.failed}</Notice>
  return <Account config={started.config} sessions={started.sessions} />
}

function Account({ config, sessions }: { config: Config; sessions: Sessions }) {
  const session = useSyncExternalStore(sessions.subscribe, sessions.getSnapshot)
  const [airplane, setAirplane] = useAirplane()
  useRemoteAccount(config, sessions, session)
  const { userId, guest } = session ?? {}
  const options = useMemo(
    () =>
      userId === undefined
        ? null
        : {
            url: config.url,
            anonKey: config.anonKey,
            ...(guest ? { userId: null } : { userId, getAccessToken: (fresh: boolean) => sessions.accessToken(fresh) }),
            claimGuest: true,
            // Where to start from; the switch tells the open mirror itself.
            online: !airplane,
            schema,
          },
    [config, sessions, userId, guest, airplane],
  )
  return (
    <MareaProvider options={options}>
      {session ? (
        // A new learner is a new mirror: nothing of the one before stays on the screen.
        <Home key={session.userId} {...{ config, sessions, session, airplane, setAirplane }} />
      ) : (
        <SignIn config={config} sessions={sessions} />
      )}
    </MareaProvider>
  )
}
