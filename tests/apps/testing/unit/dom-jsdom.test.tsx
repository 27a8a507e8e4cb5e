// @vitest-environment jsdom
import { act, render, screen } from '@testing-library/react'
import { expect, test } from 'vitest'
import { openTestMarea } from '@marea/client/testing'
import { withMarea } from '@marea/client/testing/react'
import { Practice } from '../documented/src/Practice'

test('a component under jsdom', async () => {
  const device = await openTestMarea({ now: '2026-03-01T10:00:00Z' })
  const { unmount } = render(<Practice />, { wrapper: withMarea(device) })
  await screen.findByText('Sessions: 0, streak: 0')
  await act(async () => void (await device.marea.recordSession({ session_type: 'qa' })))
  await screen.findByText('Sessions: 1, streak: 1')
  await act(() => device.clock.set('2026-03-04T10:00:00Z'))
  await screen.findByText('Sessions: 1, streak: 0')
  await act(async () => void (await device.reload()))
  await screen.findByText('Sessions: 1, streak: 0')
  expect(device.clock.now.toISOString().slice(0, 10)).toBe('2026-03-04')
  unmount()
  await device.close()
})
