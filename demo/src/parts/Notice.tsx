// One message in place of the page.

import type { ReactNode } from 'react'
import { Wordmark } from './Wordmark'

export function Notice({ title, children }: { title: string; children: ReactNode }) {
  return (
    <main className="narrow" data-testid="notice">
      <Wordmark />
      <section className="card" role="alert">
        <h1>{title}</h1>
        {children}
      </section>
    </main>
  )
}
