// Marea in React: open while a learner is signed in, closed when they leave, and two values to watch.
//
// The package's own hooks (`@marea/client/react`) will replace this file.

import { open } from '@marea/client'
import type { ActivityDay, ClientStatus, Marea, Progress } from '@marea/client'
import { useEffect, useState } from 'react'
import type { Config } from './config'
import { daysAgo, today } from './days'
import type { Sessions } from './session'

export type Opened = { state: 'opening' } | { state: 'open'; marea: Marea } | { state: 'failed'; message: string }

export function useMarea(config: Config, sessions: Sessions, userId: string, online: boolean): Opened {
  const [opened, setOpened] = useState<Opened>({ state: 'opening' })

  useEffect(() => {
    let left = false
    setOpened({ state: 'opening' })
    const getAccessToken = (fresh: boolean): Promise<string | null> => sessions.accessToken(fresh)
    const opening = open({ url: config.url, anonKey: config.anonKey, userId, getAccessToken, online })
    opening.then(
      (marea) => !left && setOpened({ state: 'open', marea }),
      (error: Error) => !left && setOpened({ state: 'failed', message: error.message }),
    )
    return () => {
      left = true
      opening.then((marea) => marea.close()).catch(() => undefined)
    }
    // `online` is only where to start from; the switch tells the open mirror itself.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [config, sessions, userId])

  const marea = opened.state === 'open' ? opened.marea : null
  useEffect(() => {
    void marea?.setOnline(online).catch(() => undefined)
  }, [marea, online])

  return opened
}

export function useProgress(marea: Marea): Progress | null {
  const [progress, setProgress] = useState<Progress | null>(null)
  useEffect(() => marea.watchProgress(setProgress), [marea])
  return progress
}

export function useStatus(marea: Marea): ClientStatus | null {
  const [status, setStatus] = useState<ClientStatus | null>(null)
  useEffect(() => marea.watchStatus(setStatus), [marea])
  return status
}

/** The last `count` days up to today, read again whenever the progress changes. */
export function useActivity(marea: Marea, count: number, progress: Progress | null): ActivityDay[] {
  const [days, setDays] = useState<ActivityDay[]>([])
  useEffect(() => {
    let left = false
    marea.activity(daysAgo(count - 1), today()).then(
      (next) => !left && setDays(next),
      () => undefined,
    )
    return () => {
      left = true
    }
  }, [marea, count, progress])
  return days
}
