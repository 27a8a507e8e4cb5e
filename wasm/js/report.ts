// One place that is told what goes wrong in an open mirror, for a service that collects errors. Told is what a developer wants to know:
// codes and tables, nothing that a learner wrote. Being offline or signed out is no error.

import { MareaError } from './errors.js'
import type { Marea } from './marea.js'
import { STATES } from './states.js'
import type { ClientStatus, MutationView } from './types.js'
import { guarded } from './watch.js'

/** Where an error was met. More may be added. */
export interface ErrorContext {
  /**
   * `sync`: between the device and the server; `refused`: the server refused a write, which is in `rejected()`; `device`: the engine or
   * the device's storage.
   */
  source: 'sync' | 'refused' | 'device' | (string & {})
  /** The table of a write that was refused. */
  table?: string
}

export type ErrorReporter = (error: MareaError, context: ErrorContext) => void

/**
 * Tells each error once, in the tab that leads. Ends with the mirror. `begunAt` is when it was opened, `isSignedOut` whether the app has
 * said last that there is no token.
 */
export function reportErrors(marea: Marea, report: ErrorReporter, begunAt: number, isSignedOut: () => boolean): void {
  let last: string | null = null
  /** Of the writes that are refused. */
  let known: Set<string> | null = null
  let count = 0
  const tell = (error: MareaError, context: ErrorContext): void => {
    if (marea.leads) guarded(() => report(error, context))
  }
  const failed = (error: MareaError): void => {
    if (last === error.code || error.code === 'closed') return
    last = error.code
    tell(error, { source: 'device' })
  }
  const tellRefused = (rejected: MutationView[]): void => {
    const before = known
    known = new Set([...(before ?? []), ...rejected.map(({ id }) => id)])
    for (const { id, table, op, refusal } of rejected) {
      // Those of earlier days were told then. What the server said of it may quote what was written.
      if (!before || before.has(id) || !refusal) continue
      const message = `The server refused a write (${op} of ${table}): ${refusal.code}. It is in rejected(), with the reason.`
      tell(new MareaError('refused', message, false), { source: 'refused', table })
    }
  }
  const look = ({ last_error: error, rejected }: ClientStatus): void => {
    const isState = !error || STATES.includes(error.code) || (error.code === 'unauthorized' && isSignedOut())
    if (!isState && error.code !== last) tell(new MareaError(error.code, error.message, true), { source: 'sync' })
    last = isState ? null : error.code
    if (rejected === 0) known ??= new Set()
    else if (rejected !== count) marea.rejected().then(tellRefused, failed)
    count = rejected
  }
  // The status begins with what an earlier visit ended with, which was told then.
  const ready = marea.diagnostics().then(
    (text) => {
      const end = (JSON.parse(text) as { journal: { at_ms: number; code: string }[] }).journal.at(-1)
      if (end && end.at_ms < begunAt) last = end.code
    },
    () => undefined,
  )
  marea.watchStatus((status) => void ready.then(() => look(status)), failed)
}
