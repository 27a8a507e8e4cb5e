// Spans of what is said between the device and the server, for OpenTelemetry: one for each conversation, made from what the engine notes
// of it. Codes and counts, nothing that a learner wrote.

import type { MareaError } from './errors.js'
import type { Marea } from './marea.js'
import { STATES } from './states.js'

/** What is used of a tracer of `@opentelemetry/api`. */
export interface SpanMaker {
  startSpan(name: string, options: { startTime: number; attributes: Record<string, string | number> }): {
    setStatus(status: { code: number; message?: string }): unknown
    end(endTime: number): void
  }
}

/** A line of `diagnostics().journal`. */
interface Noted {
  at_ms: number
  code: string
  pushed: number
  rejected: number
  pulled: number
  pending: number
  bytes_sent: number
  bytes_received: number
}

const ERROR = 2
/** Of rounds that leave no line. */
const MOST_BEGUN = 100

/**
 * Makes a span `marea.sync` for each conversation with the server from now on, in the tab that leads: when it began (as far as this page
 * saw it) and ended, how it ended, and how much was sent and pulled. Returns how to stop.
 */
export function traceSync(marea: Marea, tracer: SpanMaker, onError: (error: MareaError) => void = () => undefined): () => void {
  /** The lines that were looked at. Not by their times: a clock that is set back shows the same ones again. */
  let seen: string[] | null = null
  let syncing = false
  /** When those began whose lines were not read yet. */
  let begun: number[] = []
  const look = (): void => void marea.diagnostics().then(emit, onError)
  look()
  return marea.watchStatus((status) => {
    if (status.syncing && !syncing) begun = [...begun, Date.now()].slice(-MOST_BEGUN)
    if (!status.syncing) look()
    syncing = status.syncing
  }, onError)

  function emit(text: string): void {
    const { journal } = JSON.parse(text) as { journal: Noted[] }
    const before = seen
    seen = journal.map((line) => JSON.stringify(line))
    if (before === null || !marea.leads) return
    let last = -Infinity
    for (const { at_ms: end, code, ...counts } of journal.slice(known(before, seen))) {
      const began = begun.filter((at) => at <= end).at(-1) ?? end
      // The second of one round began when the first was over.
      const startTime = began <= last && last <= end ? last : began
      last = end
      const attributes = Object.fromEntries(Object.entries(counts).filter(([name]) => name !== 'message').map(([name, count]) => [`marea.${name}`, count]))
      const span = tracer.startSpan('marea.sync', { startTime, attributes: { 'marea.code': code, ...attributes } })
      // Nobody is signed in where no token was sent.
      const isFine = code === 'ok' || STATES.includes(code) || (code === 'unauthorized' && counts.bytes_sent === 0)
      if (!isFine) span.setStatus({ code: ERROR, message: code })
      span.end(end)
    }
    begun = begun.filter((at) => at > last)
  }
}

/** How many lines at the beginning are among those from before, of which the oldest may be gone. */
function known(before: string[], lines: string[]): number {
  const gone = before.findIndex((_, gone) => before.slice(gone).every((line, at) => line === lines[at]))
  return gone < 0 ? 0 : before.length - gone
}
