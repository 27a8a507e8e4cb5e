// The totals, as the device knows them now: what the server confirmed and what still waits, together.

import type { Progress } from '@marea/client'
import { useSpeech } from '../language'

export function Numbers({ progress }: { progress: Progress }) {
  const { t, language } = useSpeech()
  const number = new Intl.NumberFormat(language)
  const streak = progress.current_streak_days
  const tiles = [
    { id: 'total-sessions', name: t.today.sessions, value: progress.total_sessions },
    { id: 'total-minutes', name: t.today.time, value: progress.total_time_spent_minutes, unit: t.today.minutes },
    { id: 'streak', name: t.today.streak, value: streak, unit: t.today.days(streak) },
    { id: 'accuracy', name: t.today.accuracy, value: Math.round(progress.average_accuracy), unit: '%' },
    { id: 'total-words', name: t.today.learned, value: progress.total_vocabulary_learned },
  ]
  return (
    <dl className="numbers">
      {tiles.map((tile) => (
        <div key={tile.id}>
          <dt>{tile.name}</dt>
          <dd>
            <span data-testid={tile.id}>{number.format(tile.value)}</span>
            {tile.unit && <small> {tile.unit}</small>}
          </dd>
        </div>
      ))}
    </dl>
  )
}
