// Who learns here, and what all parts of the page need of the open mirror.

import type { Marea, SessionInput } from '@marea/client'
import { useRow } from '@marea/client/react'
import { createContext, useContext } from 'react'
import type { Config } from './config'
import type { Session, Sessions } from './session'

export interface Learner {
  marea: Marea
  config: Config
  sessions: Sessions
  session: Session
  airplane: boolean
  setAirplane(on: boolean): void
  /** Tells the learner something for a moment. */
  tell(text: string): void
  /** Records practice, and tells that it is kept. */
  record(session: SessionInput): Promise<void>
}

export const LearnerContext = createContext<Learner | null>(null)

export function useLearner(): Learner {
  const learner = useContext(LearnerContext)
  if (!learner) throw new Error('A part of the page is outside of Home.')
  return learner
}

/** Until the learner says otherwise. */
const DAILY_MINUTES = 15

/** How many minutes a day the learner wants to practise. */
export function useGoal(): number {
  const { marea } = useLearner()
  return useRow('learner_settings', marea.userId).data?.daily_minutes ?? DAILY_MINUTES
}

/** Whole minutes since a time, at least one. */
export const minutesSince = (startedMs: number): number => Math.min(600, Math.max(1, Math.round((Date.now() - startedMs) / 60_000)))
