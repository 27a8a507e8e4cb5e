// What a learner sees: the tide, the form, the numbers, the days.

import type { Marea } from '@marea/client'
import { useState } from 'react'
import type { Config } from '../config'
import type { Session, Sessions } from '../session'
import { useActivity, useMarea, useProgress, useStatus } from '../useMarea'
import { tideOf } from '../words'
import { Days } from './Days'
import { Head } from './Head'
import { Notice } from './Notice'
import { Numbers } from './Numbers'
import { RecordForm } from './RecordForm'

const DAYS_SHOWN = 14
const AIRPLANE_KEY = 'marea-demo.airplane'

interface Props {
  config: Config
  sessions: Sessions
  session: Session
}

export function Home({ config, sessions, session }: Props) {
  const [airplane, setAirplane] = useState(() => localStorage.getItem(AIRPLANE_KEY) === 'on')
  const opened = useMarea(config, sessions, session.userId, !airplane)

  const switchAirplane = (on: boolean): void => {
    localStorage.setItem(AIRPLANE_KEY, on ? 'on' : 'off')
    setAirplane(on)
  }

  if (opened.state === 'failed') return <Notice title="Marea could not be opened">{opened.message}</Notice>
  if (opened.state === 'opening') {
    return (
      <p className="opening" role="status">
        Opening your progress
      </p>
    )
  }
  return (
    <Opened
      marea={opened.marea}
      session={session}
      airplane={airplane}
      onAirplane={switchAirplane}
      onSignOut={() => sessions.signOut()}
    />
  )
}

interface OpenedProps {
  marea: Marea
  session: Session
  airplane: boolean
  onAirplane(on: boolean): void
  onSignOut(): void
}

function Opened({ marea, session, airplane, onAirplane, onSignOut }: OpenedProps) {
  const progress = useProgress(marea)
  const status = useStatus(marea)
  const days = useActivity(marea, DAYS_SHOWN, progress)
  if (!progress) return null
  return (
    <>
      <Head
        email={session.email}
        tide={tideOf(status, airplane, session.stale === true)}
        pending={status?.pending ?? 0}
        rejected={status?.rejected ?? 0}
        airplane={airplane}
        onAirplane={onAirplane}
        onSignOut={onSignOut}
      />
      <main className="page">
        <RecordForm marea={marea} />
        <div className="column">
          <Numbers progress={progress} />
          <Days days={days} count={DAYS_SHOWN} />
        </div>
      </main>
    </>
  )
}
