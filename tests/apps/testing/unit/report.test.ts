// What a service that collects errors is told, and the spans of OpenTelemetry.

import { SpanStatusCode } from '@opentelemetry/api'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { expect, test, vi } from 'vitest'
import { MareaError } from '@marea/client'
import type { ErrorContext } from '@marea/client'
import { traceSync } from '@marea/client/opentelemetry'
import { openTestMarea, refusingServer } from '@marea/client/testing'
import type { TestMarea, TestOptions, TestServer } from '@marea/client/testing'

const SECRET = 'something that a learner wrote'

test('onError is told each error once, and nothing that a learner wrote', async () => {
  const told: [MareaError, ErrorContext][] = []
  const device = await openTestMarea({ onError: (error, context) => void told.push([error, context]) })
  const tab = await device.openTab()
  const codes = () => told.map(([{ code }, { source, table }]) => [code, source, table].filter(Boolean).join(' '))
  await tab.recordSession({ session_type: 'qa', session_data: { note: SECRET } })
  await device.clock.settled()
  expect(codes()).toEqual([])
  device.network.serve(() => ({ status: 500, body: { message: SECRET } }))
  await device.clock.advance(60_000)
  expect(codes()).toEqual(['server_failed sync'])
  device.network.serve(refusingServer('23514', `no: ${SECRET}`))
  await device.marea.sync()
  await device.clock.settled()
  expect(codes()).toEqual(['server_failed sync', 'refused refused sessions'])
  for (const [error] of told) {
    expect(error).toBeInstanceOf(MareaError)
    expect(`${error.message} ${error.stack} ${JSON.stringify(error)}`).not.toContain(SECRET)
  }
  // What was refused before is not told again.
  await device.reload()
  await device.clock.settled()
  expect(codes()).toHaveLength(2)
  expect(await device.marea.rejected()).toHaveLength(1)
  await device.close()
  await expect(openTestMarea({ onError: 1 as never })).rejects.toMatchObject({ message: expect.stringContaining('onError') })
})

/** What is told while `what` goes on and after it, as codes. */
async function toldOf(options: TestOptions, what: (device: TestMarea) => Promise<unknown>): Promise<string[]> {
  const told: string[] = []
  const device = await openTestMarea({ ...options, onError: ({ code }) => void told.push(code) })
  await what(device)
  await device.clock.settled()
  await device.close()
  return told
}

const codeOf = async ({ marea }: TestMarea) => (await marea.status()).last_error?.code

test('a network that is away, or in the way, is a state', async () => {
  const answers: [string, TestServer][] = [
    ['unintelligible_answer', () => ({ status: 200, body: { other: 'service' } })],
    ['captive_portal', () => ({ status: 511, body: null })],
  ]
  for (const [code, server] of answers) {
    const told = await toldOf({}, async (device) => {
      expect(await codeOf(device)).toBe('offline')
      device.network.serve(server)
      for (let tries = 0; tries < 5 && (await codeOf(device)) !== code; tries++) await device.clock.advance(60_000)
      expect(await codeOf(device)).toBe(code)
    })
    expect(told, code).toEqual([])
  }
})

test('no token is a state, one that the server refuses is an error', async () => {
  let token: (userId: string) => string | null = () => null
  const userId = crypto.randomUUID()
  const options = { userId, getAccessToken: () => token(userId) }
  const syncs = async (device: TestMarea, code: string) => {
    await device.marea.sync()
    expect(await codeOf(device)).toBe(code)
  }
  const refuses: TestServer = () => ({ status: 401, body: { code: 'PGRST301', message: 'JWT expired' } })

  const signedOut = async (device: TestMarea) => {
    device.network.serve(refuses)
    await syncs(device, 'unauthorized')
  }
  expect(await toldOf(options, signedOut)).toEqual([])
  expect(await toldOf({}, signedOut)).toEqual(['unauthorized'])
  const goesAway = async (device: TestMarea) => {
    token = tokenOf
    device.network.serve(() => ({ status: 500, body: null }))
    await syncs(device, 'server_failed')
    await device.clock.settled()
    token = () => {
      throw new Error('the sign-in service is away')
    }
    await syncs(device, 'token_unavailable')
    token = () => null
    await syncs(device, 'unauthorized')
    expect((await device.marea.status()).connection).toBe('online')
  }
  expect(await toldOf(options, goesAway)).toEqual(['server_failed'])
})

/** As a server makes them, unsigned. */
function tokenOf(userId: string): string {
  const parts = [{ alg: 'none' }, { sub: userId, role: 'authenticated', exp: 4_102_444_800 }, {}]
  return parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
}

test('what an earlier visit ended with is not told again', async () => {
  const told = await toldOf({}, async (device) => {
    device.network.serve(() => ({ status: 500, body: null }))
    await device.marea.sync()
    await device.clock.settled()
    device.network.serve(() => ({ status: 500, body: null }))
    await device.reload()
    await device.clock.advance(60_000)
    expect(await codeOf(device)).toBe('server_failed')
    device.network.serve(() => ({ status: 403, body: { code: '42501', message: 'no' } }))
    await device.marea.sync()
    expect(await codeOf(device)).toBe('refused')
  })
  expect(told).toEqual(['server_failed', 'refused'])
})

test('each write that is refused is told, also behind hundreds of others', async () => {
  const told: ErrorContext[] = []
  const device = await openTestMarea({ onError: (_, context) => void told.push(context) })
  device.network.serve(refusingServer('23514', 'no'))
  await device.marea.importOnce('old', Array.from({ length: 150 }, () => ({ session: { session_type: 'qa', local_date: '2026-03-01' } })))
  await device.marea.sync()
  await device.clock.settled()
  expect(await device.marea.rejected()).toHaveLength(150)
  expect(told).toHaveLength(150)
  await device.marea.recordSession({ session_type: 'qa' })
  await device.marea.sync()
  await device.clock.settled()
  expect(told.slice(150).map(({ source }) => source)).toEqual(['refused'])
  await device.close()
})

test('a span for each conversation with the server', async () => {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  const device = await openTestMarea()
  const stop = traceSync(device.marea, provider.getTracer('app'))
  await device.marea.recordSession({ session_type: SECRET.slice(0, 20) })
  device.network.serve(() => ({ status: 503, body: null }))
  await device.marea.sync()
  device.network.serve(refusingServer('23514', SECRET))
  await device.marea.sync()
  const spans = () => exporter.getFinishedSpans().map(({ name, status, attributes }) => [name, status.code, attributes['marea.code'], attributes['marea.rejected']])
  await vi.waitFor(() => expect(spans().at(-1)).toEqual(['marea.sync', SpanStatusCode.UNSET, 'ok', 1]))
  expect(spans()).toContainEqual(['marea.sync', SpanStatusCode.ERROR, 'server_failed', 0])
  for (const { startTime, endTime, attributes } of exporter.getFinishedSpans()) {
    expect(startTime[0] * 1e9 + startTime[1]).toBeLessThanOrEqual(endTime[0] * 1e9 + endTime[1])
    expect(JSON.stringify(attributes)).not.toContain('learner')
  }
  stop()
  const before = exporter.getFinishedSpans().length
  await device.marea.sync()
  await device.clock.settled()
  expect(exporter.getFinishedSpans()).toHaveLength(before)
  await device.close()
})

test('a span of a state is no error', async () => {
  const refused: TestServer = () => ({ status: 401, body: { code: 'PGRST301', message: 'JWT expired' } })
  const cases: [string, TestOptions, TestServer, number][] = [
    ['captive_portal', {}, () => ({ status: 511, body: null }), SpanStatusCode.UNSET],
    ['unauthorized', { getAccessToken: () => null }, refused, SpanStatusCode.UNSET],
    ['unauthorized', {}, refused, SpanStatusCode.ERROR],
  ]
  for (const [code, options, server, expected] of cases) {
    const ended: [unknown, number][] = []
    const device = await openTestMarea(options)
    await device.clock.settled()
    const startSpan = (_: string, { attributes }: { attributes: Record<string, unknown> }) => {
      let status: number = SpanStatusCode.UNSET
      return { setStatus: (given: { code: number }) => (status = given.code), end: () => void ended.push([attributes['marea.code'], status]) }
    }
    const stop = traceSync(device.marea, { startSpan })
    await device.clock.settled()
    device.network.serve(server)
    await device.marea.sync()
    await vi.waitFor(() => expect(ended.at(-1)).toEqual([code, expected]))
    stop()
    await device.close()
  }
})

// After the clock was set back by an hour there were no spans for an hour, and two conversations had one start.
test('spans go on when the clock is set back, and each has a start of its own', () => {
  let now = 1_000_000
  vi.spyOn(Date, 'now').mockImplementation(() => now)
  const journal: object[] = []
  const answers: ((text: string) => void)[] = []
  let tell: (status: { syncing: boolean }) => void = () => undefined
  const marea = {
    leads: true,
    // Answered at once, or when the test says so.
    diagnostics: () => ({ then: (done: (text: string) => void) => void answers.push(done) }),
    watchStatus: (listener: typeof tell) => {
      tell = listener
      return () => undefined
    },
  }
  const spans: [number, number][] = []
  const tracer = {
    startSpan: (_: string, { startTime }: { startTime: number }) => ({ setStatus: () => undefined, end: (end: number) => void spans.push([startTime, end]) }),
  }
  const answerAll = (): void => answers.splice(0).forEach((answer) => answer(JSON.stringify({ journal })))
  const converse = (ms: number): void => {
    tell({ syncing: true })
    now += ms
    journal.push({ at_ms: now, code: 'ok', pushed: 0, rejected: 0, pulled: 0, pending: 0, bytes_sent: 0, bytes_received: 0 })
    tell({ syncing: false })
  }
  converse(5)
  traceSync(marea as never, tracer)
  answerAll()
  expect(spans).toEqual([])
  const start = now
  converse(10)
  now += 100
  converse(20)
  answerAll()
  expect(spans.splice(0)).toEqual([[start, start + 10], [start + 110, start + 130]])
  now -= 3_600_000
  const later = now
  converse(30)
  answerAll()
  expect(spans).toEqual([[later, later + 30]])
  vi.restoreAllMocks()
})
