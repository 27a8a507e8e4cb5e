// One place that is told what goes wrong in an open mirror, for a service that collects errors. Told is what a developer wants to know:
// codes and tables, nothing that a learner wrote. Being offline is no error.

import { MareaError } from './errors.js'
import type { Marea } from './marea.js'

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

/** Not errors, but states that pass, or that the app has asked for. */
const STATES = ['offline', 'need_token', 'paused']

/** Tells each error once, in the tab that leads. Ends with the mirror. */
export function reportErrors(marea: Marea, report: ErrorReporter): void {
  let last: string | null = null
  const known = new Set<string>()
  let isFirst = true
  const tell = (error: MareaError, context: ErrorContext): void => {
    if (marea.leads) report(error, context)
  }
  const failed = (error: MareaError): void => {
    if (last === error.code) return
    last = error.code
    tell(error, { source: 'device' })
  }
  marea.watchStatus(({ last_error: error }) => {
    const code = error && !STATES.includes(error.code) ? error.code : null
    if (error && code !== null && code !== last) tell(new MareaError(code, error.message, true), { source: 'sync' })
    last = code
  }, failed)
  marea.watchQueue(({ rejected }) => {
    for (const { id, table, op, refusal } of rejected) {
      if (known.has(id)) continue
      known.add(id)
      // Those of earlier days were told then. What the server said of it may quote what was written.
      if (isFirst || !refusal) continue
      const message = `The server refused a write (${op} of ${table}): ${refusal.code}. It is in rejected(), with the reason.`
      tell(new MareaError('refused', message, false), { source: 'refused', table })
    }
    isFirst = false
  }, failed)
}
