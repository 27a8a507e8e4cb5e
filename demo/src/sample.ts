// Practice of the last weeks that never was, so that who only looks around sees what the charts say. Made by the same calls as any.

import type { Marea } from '@marea/client'
import { collect } from './collect'
import { pictureOf } from './content'
import type { Language } from './content'
import { daysAgo, noonOf, weekdayOf } from './days'

const DAYS = 84
// Minutes by day of the week, from Monday on: weekends are for longer lessons.
const MINUTES = [20, 0, 15, 25, 0, 40, 30]
const PICTURES = ['harbour', 'kitchen', 'park']
// How long each of a picture's words rests after its last review.
const INTERVALS = [0, 2, 4, 9, 15, 24, 35, 60]

export async function fillWithSample(marea: Marea, userId: string, target: Language, own: Language): Promise<void> {
  const sessions = Array.from({ length: DAYS }, (_, index) => DAYS - index).flatMap((ago) => {
    const day = daysAgo(ago)
    const minutes = MINUTES[weekdayOf(day)] ?? 0
    // A few days off, so that it looks like a life.
    if (minutes === 0 || ago % 11 === 0) return []
    const questions = 8 + (ago % 3)
    const right = Math.round(questions * Math.min(0.95, 0.55 + ((DAYS - ago) / DAYS) * 0.4))
    return [{ session_type: ago % 2 ? 'qa' : 'describe', ended_at: noonOf(day).toISOString(), local_date: day, duration_minutes: minutes, qa_attempts: questions, qa_correct: right, descriptions_generated: 1, vocabulary_learned: ago % 4 }]
  })
  await Promise.all(sessions.map((session) => marea.recordSession(session)))
  for (const id of PICTURES) {
    const picture = pictureOf(id)
    if (picture) await collect(marea, userId, picture, picture.words, target, own)
  }
  const words = await marea.table('words').list({ where: { picture: { in: PICTURES } }, order: ['word'], limit: 100 })
  await marea.batch((batch) =>
    words.forEach(({ id }, index) => {
      const interval = INTERVALS[index % INTERVALS.length] ?? 0
      if (interval === 0) return
      batch.table('words').update(id, { interval_days: interval, due_on: daysAgo(-Math.max(0, interval - (index % 7) - 2)) })
      batch.table('words').add(id, { times_seen: 3 + (index % 4), times_right: 3 })
    }),
  )
}
