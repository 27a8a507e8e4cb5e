// The app of a learner who is signed in: opens the mirror, and shows the page that the address names.

import type { SessionInput } from '@marea/client'
import { useMarea } from '@marea/client/react'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import type { Config } from '../config'
import { device } from '../device'
import { useSpeech } from '../language'
import { LearnerContext } from '../learner'
import type { Learner } from '../learner'
import { Page } from '../pages/Page'
import type { Session, Sessions } from '../session'
import { Notice } from './Notice'
import { Remote } from './Remote'
import { Shell } from './Shell'
import { Toast } from './Toast'
import type { Told } from './Toast'

interface Props {
  config: Config
  sessions: Sessions
  session: Session
  airplane: boolean
  setAirplane(on: boolean): void
}

export function Home(props: Props) {
  const { t } = useSpeech()
  const { airplane } = props
  const { state, marea, error, retry } = useMarea()
  const [told, setTold] = useState<Told | null>(null)
  const recorded = useRef(0)

  useEffect(() => {
    void marea?.setOnline(!airplane).catch(() => undefined)
  }, [marea, airplane])

  const tell = useCallback((text: string) => setTold({ text, recorded: recorded.current }), [])
  const learner = useMemo<Learner | null>(() => {
    if (!marea) return null
    const record = async (session: SessionInput): Promise<void> => {
      await marea.recordSession(session)
      recorded.current += 1
      tell(t.kept)
    }
    return { ...props, marea, tell, record }
    // Of the properties, these two change.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [marea, props.session, airplane, tell, t])

  if (state === 'failed') {
    return (
      <Notice title={t.failed}>
        <p>{error.message}</p>
        <button type="button" className="button" onClick={retry}>
          {t.tryAgain}
        </button>
      </Notice>
    )
  }
  if (!learner) {
    return (
      <main className="opening">
        <p role="status">{t.loading}</p>
      </main>
    )
  }
  return (
    <LearnerContext.Provider value={learner}>
      <Shell>
        <Page />
      </Shell>
      {device !== null && <Remote />}
      <Toast told={told} onGone={() => setTold(null)} recorded={recorded.current} />
    </LearnerContext.Provider>
  )
}
