// When a word comes again: each right answer makes the pause longer, a wrong one begins anew. Pure.

import { daysAgo } from './days'

export const GRADES = ['again', 'hard', 'good', 'easy'] as const
export type Grade = (typeof GRADES)[number]

// A year is as good as known for ever.
const MAX_DAYS = 365
/** From here on a word counts as known. */
export const KNOWN_DAYS = 21

const FIRST: Record<Grade, number> = { again: 0, hard: 1, good: 2, easy: 4 }
const FACTOR: Record<Grade, number> = { again: 0, hard: 1.2, good: 2.2, easy: 3 }

/** The pause after a review, in days; 0: once more today. */
export function nextInterval(interval: number, grade: Grade): number {
  if (interval <= 0 || grade === 'again') return FIRST[grade]
  return Math.min(MAX_DAYS, Math.max(interval + 1, Math.round(interval * FACTOR[grade])))
}

export const dueOn = (interval: number): string => daysAgo(-interval)

/** How well a word is known, from 0 (never answered) to 4. */
export function strengthOf(interval: number | null): number {
  const days = interval ?? 0
  return days === 0 ? 0 : days < 4 ? 1 : days < 10 ? 2 : days < KNOWN_DAYS ? 3 : 4
}
