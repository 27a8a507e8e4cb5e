// What a test's device promises, without a DOM.

import { expect, test, vi } from 'vitest'
import { MareaError } from '@marea/client'
import { openTestMarea, refusingServer } from '@marea/client/testing'

const DAY = 24 * 60 * 60 * 1000
const session = { session_type: 'qa', duration_minutes: 10 } as const

test('each device is one of its own', async () => {
  const userId = '0b0e5a8e-5b0f-4f3a-9a53-2f1d6f6a7c11'
  const [one, other] = await Promise.all([openTestMarea({ userId }), openTestMarea({ userId, now: '2030-01-01T00:00:00Z' })])
  await one.marea.recordSession(session)
  expect((await one.marea.progress()).total_sessions).toBe(1)
  expect((await other.marea.progress()).total_sessions).toBe(0)
  expect(other.clock.now.getUTCFullYear()).toBe(2030)
  await Promise.all([one.close(), other.close()])
})

test('tabs share the mirror, and what was acknowledged outlives a reload', async () => {
  const device = await openTestMarea()
  const tab = await device.openTab()
  const seen: number[] = []
  tab.watchProgress((progress) => seen.push(progress.total_sessions))
  await device.marea.recordSession(session)
  await vi.waitFor(() => expect(seen.at(-1)).toBe(1))
  // The leading tab goes, and the other takes over.
  await device.marea.close()
  expect((await tab.progress()).total_sessions).toBe(1)
  await tab.recordSession(session)
  const marea = await device.reload()
  expect((await marea.progress()).total_sessions).toBe(2)
  expect(device.source.state).toMatchObject({ state: 'open', marea })
  await device.close()
  expect(device.source.state.state).toBe('signed-out')
})

test('errors are of the class of the package', async () => {
  const device = await openTestMarea()
  const refused = device.marea.recordSession({ session_type: 'qa', duration_minutes: Number.NaN })
  await expect(refused).rejects.toBeInstanceOf(MareaError)
  await expect(refused).rejects.toMatchObject({ code: 'invalid_input' })
  await expect(openTestMarea({ userId: 'nobody' })).rejects.toMatchObject({ code: 'invalid_input' })
  expect(() => device.clock.advance(Number.NaN)).toThrow(MareaError)
  expect(() => device.clock.set('yesterday')).toThrow(MareaError)
  await device.close()
  await expect(device.marea.progress()).rejects.toMatchObject({ code: 'closed' })
})

test('the clock is the device\'s: days, streaks, a clock that is put back', async () => {
  const device = await openTestMarea({ now: '2026-03-01T12:00:00' })
  device.clock.pause()
  const days: string[][] = []
  device.marea.watchActivity('2026-03-01', '2026-03-09', (list) => days.push(list.map(({ day }) => day)))
  await device.marea.recordSession(session)
  await device.clock.advance(DAY)
  await device.marea.recordSession(session)
  expect((await device.marea.progress()).current_streak_days).toBe(2)
  await device.clock.set('2026-03-05T12:00:00')
  expect((await device.marea.progress()).current_streak_days).toBe(0)
  expect(device.clock.now.getDate()).toBe(5)
  await device.clock.set('2026-03-02T12:00:00')
  expect((await device.marea.progress()).current_streak_days).toBe(2)
  await device.clock.settled()
  expect(days.at(-1)).toEqual(['2026-03-01', '2026-03-02'])
  await device.close()
})

test('days are watched by a range or from and to, and what is neither is refused by its name', async () => {
  const device = await openTestMarea()
  const { marea } = device
  const refused = (...given: unknown[]) => {
    try {
      return (marea.watchActivity as (...given: unknown[]) => void)(...given)
    } catch (error) {
      return (error as MareaError).message
    }
  }
  const listener = (): void => undefined
  expect(refused(null, listener)).toMatch(/^range: /)
  expect(refused({ days: 1e9 }, listener)).toMatch(/^days: /)
  expect(refused({ from: 'x', to: '2026-01-01' }, listener)).toMatch(/^from: /)
  expect(refused(new Date(), new Date(), listener)).toMatch(/^from: /)
  expect(refused({ days: 7 })).toMatch(/^from: /)
  const told: string[] = []
  marea.watchActivity({ days: Number.NaN }, listener, ({ message }) => told.push(message))
  expect(told).toEqual([expect.stringMatching(/^days: /)])
  await device.close()
})

test('a week passes in a second, and fake timers of the test do not touch the device', async () => {
  vi.useFakeTimers({ now: new Date('1999-01-01') })
  try {
    const device = await openTestMarea({ now: '2026-03-01T12:00:00Z' })
    device.network.online()
    await device.marea.recordSession(session)
    await device.clock.advance(7 * DAY)
    expect(device.network.attempts).toBeGreaterThan(30)
    expect((await device.marea.status()).pending).toBe(1)
    expect(new Date().getFullYear()).toBe(1999)
    await device.close()
  } finally {
    vi.useRealTimers()
  }
})

test('the network: offline, back, a server that fails, one that refuses', async () => {
  const device = await openTestMarea()
  await device.marea.recordSession(session)
  await device.clock.settled()
  expect(device.network.isOnline).toBe(false)
  expect((await device.marea.status()).connection).toBe('offline')

  const asked: unknown[] = []
  device.network.serve(({ body }) => {
    asked.push(body)
    return { status: 500, body: { message: 'down' } }
  })
  await vi.waitFor(() => expect(asked.length).toBeGreaterThan(0))
  expect(asked[0]).toMatchObject({ request: { protocol: 1, mutations: [{ table: 'sessions', op: 'insert' }] } })

  device.network.offline()
  const before = device.network.attempts
  await device.marea.sync()
  expect((await device.marea.status()).pending).toBe(1)
  expect(asked.length).toBeLessThanOrEqual(device.network.attempts)
  expect(device.network.attempts).toBeGreaterThanOrEqual(before)

  device.network.serve(refusingServer('23514', 'sessions: no'))
  expect(await device.marea.sync()).toMatchObject({ rejected: 1, pending: 0 })
  expect(await device.marea.rejected()).toMatchObject([{ refusal: { code: '23514', message: 'sessions: no' } }])
  await device.close()
})

test('airplane mode of the app, in all tabs', async () => {
  const device = await openTestMarea({ online: false })
  const tab = await device.openTab()
  device.network.serve(refusingServer('23514', 'no'))
  await tab.recordSession(session)
  expect(await device.marea.sync()).toMatchObject({ outcome: 'offline', pending: 1 })
  await tab.setOnline(true)
  expect(await device.marea.sync()).toMatchObject({ pending: 0 })
  await device.close()
})

test('keys are sealed and used', async () => {
  const device = await openTestMarea()
  const passphrase = await device.marea.keys.generatePassphrase()
  await device.marea.keys.setUp(passphrase)
  await device.marea.keys.put('openai', 'sk-test')
  expect(await device.marea.keys.use('openai', (key) => new TextDecoder().decode(key))).toBe('sk-test')
  await device.clock.advance(20 * 60 * 1000)
  await expect(device.marea.keys.use('openai', () => 0)).rejects.toMatchObject({ code: 'vault_locked' })
  await device.close()
})

test('files have no place here, which is said, and the export is there', async () => {
  const device = await openTestMarea()
  const made = device.marea.createExport({ export_type: 'progress', export_format: 'csv', file: new Blob(['a,b']) })
  await expect(made).rejects.toMatchObject({ name: 'MareaError', code: 'files_unavailable' })
  expect((await device.marea.exports()).exports).toHaveLength(1)
  await expect(device.marea.exportFile(crypto.randomUUID())).rejects.toMatchObject({ code: 'invalid_input' })
  await device.close()
})

test('a listener that throws is told as an uncaught error, and stops nothing', async () => {
  const device = await openTestMarea()
  const uncaught = vi.fn()
  const others = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', uncaught)
  try {
    device.marea.watchProgress(() => {
      throw new Error('of the app')
    })
    await vi.waitFor(() => expect(uncaught).toHaveBeenCalled())
  } finally {
    process.removeAllListeners('uncaughtException')
    for (const listener of others) process.on('uncaughtException', listener)
  }
  await device.close()
})
