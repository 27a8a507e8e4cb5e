// One chart: what it says, as a heading; the drawing; and what the drawing shows.

import { useId } from 'react'
import type { ReactNode } from 'react'

export function Chart({ says, text, wide = false, children }: { says: string; text?: string; wide?: boolean; children?: ReactNode }) {
  const id = useId()
  return (
    <section className="card chart" data-wide={wide || undefined} aria-labelledby={id}>
      <h2 id={id}>{says}</h2>
      {text && <p className="soft">{text}</p>}
      {children}
    </section>
  )
}
