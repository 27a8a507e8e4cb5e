// Jest's fake timers replace more than those of vitest do: microtasks and `performance` too.

import { jest } from '@jest/globals'
import { openTestMarea } from '@marea/client/testing'

const HOUR = 60 * 60 * 1000

test('fake timers of the test do not touch the device', async () => {
  jest.useFakeTimers({ now: new Date('1999-01-01') })
  try {
    const device = await openTestMarea({ now: '2026-03-01T12:00:00Z' })
    const tab = await device.openTab()
    device.network.online()
    await tab.recordSession({ session_type: 'qa' })
    await device.clock.advance(HOUR)
    expect(device.network.attempts).toBeGreaterThan(3)
    expect((await device.marea.status()).pending).toBe(1)
    expect(new Date().getFullYear()).toBe(1999)
    await device.close()
  } finally {
    jest.useRealTimers()
  }
})
