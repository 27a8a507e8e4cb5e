// Spans of what is said between the device and the server, for OpenTelemetry: one for each conversation, made from what the engine notes
// of it. Codes and counts, nothing that a learner wrote.

import type { MareaError } from './errors.js'
import type { Marea } from './marea.js'

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
const FINE = ['ok', 'offline', 'need_token']

/**
 * Makes a span `marea.sync` for each conversation with the server from now on, in the tab that leads: when it began (as far as this page
 * saw it) and ended, how it ended, and how much was sent and pulled. Returns how to stop.
 */
export function traceSync(marea: Marea, tracer: SpanMaker, onError: (error: MareaError) => void = () => undefined): () => void {
  let since = Date.now()
  let begun: number | null = null
  return marea.watchStatus(({ syncing }) => {
    if (syncing) begun ??= Date.now()
    else {
      const from = begun
      begun = null
      void marea.diagnostics().then((text) => emit(text, from), onError)
    }
  }, onError)

  function emit(text: string, from: number | null): void {
    const { journal } = JSON.parse(text) as { journal: Noted[] }
    for (const { at_ms: end, code, ...counts } of journal) {
      if (end < since || !marea.leads) continue
      since = end + 1
      const attributes = Object.fromEntries(Object.entries(counts).filter(([name]) => name !== 'message').map(([name, count]) => [`marea.${name}`, count]))
      const startTime = from !== null && from <= end ? from : end
      const span = tracer.startSpan('marea.sync', { startTime, attributes: { 'marea.code': code, ...attributes } })
      if (!FINE.includes(code)) span.setStatus({ code: ERROR, message: code })
      span.end(end)
    }
  }
}
