// In a frame of the page of two devices: does what that page asks, and tells it what this device shows.

import { useProgress, useQuery, useSyncStatus } from '@marea/client/react'
import { useEffect } from 'react'
import { collect } from '../collect'
import type { Config } from '../config'
import { pictureOf } from '../content'
import { device } from '../device'
import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { listen, send } from '../remote'
import type { Order, Report } from '../remote'
import { go } from '../route'
import type { Session, Sessions } from '../session'
import { syncStateOf } from '../status'

const parentWindow = (): Window | null => (device !== null && window.parent !== window ? window.parent : null)

function report(config: Config, message: Report): void {
  const target = parentWindow()
  // Only the one that is the parent's own gets it; the browser drops the others.
  if (target) for (const origin of config.devices) if (ancestorIs(origin)) send(target, origin, message)
}

/** Where the browser says whose page this frame is in, only that one is told. */
function ancestorIs(origin: string): boolean {
  const ancestors = location.ancestorOrigins as DOMStringList | undefined
  return ancestors === undefined || ancestors[0] === origin
}

/** Signs in where the page asks for it, and tells who is. */
export function useRemoteAccount(config: Config, sessions: Sessions, session: Session | null): void {
  const email = session?.email ?? null
  useEffect(() => report(config, { say: 'account', email }), [config, email])
  useEffect(
    () =>
      listen<Order>(config.devices, parentWindow, (order) => {
        if (order.do !== 'sign-in' && order.do !== 'sign-up') return
        const entering = order.do === 'sign-in' ? sessions.signIn(order.email, order.password) : sessions.signUp(order.email, order.password)
        entering.catch(() => report(config, { say: 'refused' }))
      }),
    [config, sessions],
  )
}

export function Remote() {
  const { t, language, target } = useSpeech()
  const { marea, config, session, airplane, setAirplane, tell } = useLearner()
  const { data: progress } = useProgress()
  const { data: status } = useSyncStatus()
  const { data: words } = useQuery<{ words: number }>('SELECT count(*) AS words FROM words')

  useEffect(() => {
    if (!progress || !status || !words) return
    report(config, {
      say: 'shown',
      email: session.email,
      shown: {
        sessions: progress.total_sessions,
        minutes: progress.total_time_spent_minutes,
        words: words[0]?.words ?? 0,
        pending: status.pending,
        airplane,
        level: syncStateOf(t, status, airplane, session).level,
        awake: 'wakeups' in status && status.wakeups === 'joined',
      },
    })
  }, [config, progress, status, words, airplane, session, t])

  useEffect(() => {
    const carryOut = (order: Order): unknown => {
      switch (order.do) {
        case 'airplane':
          return setAirplane(order.on)
        case 'go':
          return go(...order.steps)
        case 'sync':
          return marea.sync()
        case 'practise':
          return marea.recordSession({ session_type: 'qa', qa_attempts: order.questions, qa_correct: order.correct, duration_minutes: order.minutes })
        case 'collect': {
          const picture = pictureOf(order.picture)
          const chosen = picture?.words.filter((_, index) => order.words.includes(index)) ?? []
          return picture && collect(marea, marea.userId, picture, chosen, target, language)
        }
        default:
          return undefined
      }
    }
    return listen<Order>(config.devices, parentWindow, (order) => {
      Promise.resolve(carryOut(order)).catch((error: Error) => tell(error.message))
    })
  }, [marea, config, session, setAirplane, tell, language, target])
  return null
}
