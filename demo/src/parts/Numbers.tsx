// The totals, as the device knows them now: what the server confirmed and what still waits, together.

import type { Progress } from '@marea/client'

interface Tile {
  id: string
  name: string
  value: string
  unit?: string
}

export function Numbers({ progress }: { progress: Progress }) {
  return (
    <section className="card" aria-labelledby="numbers-title">
      <h2 id="numbers-title">So far</h2>
      <dl className="numbers">
        {tiles(progress).map((tile) => (
          <div key={tile.id}>
            <dt>{tile.name}</dt>
            <dd>
              <span data-testid={tile.id}>{tile.value}</span>
              {tile.unit && <small> {tile.unit}</small>}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

function tiles(progress: Progress): Tile[] {
  const number = new Intl.NumberFormat()
  const streak = progress.current_streak_days
  return [
    { id: 'total-sessions', name: 'Sessions', value: number.format(progress.total_sessions) },
    { id: 'total-minutes', name: 'Time', value: number.format(progress.total_time_spent_minutes), unit: 'min' },
    { id: 'streak', name: 'Streak', value: number.format(streak), unit: streak === 1 ? 'day' : 'days' },
    { id: 'accuracy', name: 'Accuracy', value: number.format(Math.round(progress.average_accuracy)), unit: '%' },
    { id: 'total-words', name: 'Words learned', value: number.format(progress.total_vocabulary_learned) },
    { id: 'total-points', name: 'Points', value: number.format(progress.total_points) },
  ]
}
