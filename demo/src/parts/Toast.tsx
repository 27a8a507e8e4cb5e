// What the learner is told for a moment, at the edge of the page. Read out by screen readers, and never in the way.

import { useEffect } from 'react'

export interface Told {
  text: string
  recorded: number
}

const SHOWN_MS = 4000

export function Toast({ told, recorded, onGone }: { told: Told | null; recorded: number; onGone(): void }) {
  useEffect(() => {
    if (!told) return
    const timer = setTimeout(onGone, SHOWN_MS)
    return () => clearTimeout(timer)
    // A new text is shown as long as the one before.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [told])
  return (
    <p className="toast" role="status" data-shown={told !== null || undefined} data-testid="kept" data-count={recorded}>
      {told?.text}
    </p>
  )
}
