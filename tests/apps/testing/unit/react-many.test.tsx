// @vitest-environment jsdom
// More live values on one page than the hooks keep for later.

import { act, cleanup, render, screen } from '@testing-library/react'
import { afterEach, expect, test, vi } from 'vitest'
import { useRow } from '@marea/client/react'
import { withMarea } from '@marea/client/testing/react'
import { closeAll, offlineDevice } from '../setup/words.ts'

afterEach(async () => {
  cleanup()
  await closeAll()
})

const WORDS = 300
/** What each row showed, in order. */
const shown = new Map<string, string[]>()

function Word({ id }: { id: string }) {
  const { data, loading } = useRow('vocabulary_items', id)
  const now = loading ? 'loading' : String(data?.word)
  const before = shown.get(id) ?? []
  if (before.at(-1) !== now) shown.set(id, [...before, now])
  return <li>{now}</li>
}

test('each of 300 rows is read once, and never blinks', async () => {
  const device = await offlineDevice()
  const words = Array.from({ length: WORDS }, (_, index) => `w${index}`)
  const keys = await device.marea.batch((tx) => words.forEach((word) => void tx.table('vocabulary_items').insert({ word })))
  const followed = vi.spyOn(device.marea, 'table')
  const { rerender } = render(<ul>{keys.map((id) => <Word key={id} id={id} />)}</ul>, { wrapper: withMarea(device) })
  await screen.findByText(`w${WORDS - 1}`)
  await act(() => device.clock.settled())
  expect([...shown.values()]).toEqual(words.map((word) => ['loading', word]))
  expect(followed).toHaveBeenCalledTimes(WORDS)
  // One more that shows a value of theirs has it at once.
  rerender(<ul>{[...keys.map((id) => <Word key={id} id={id} />), <Word key="again" id={keys[0]!} />]}</ul>)
  await act(() => device.clock.settled())
  expect(followed).toHaveBeenCalledTimes(WORDS)
  expect(screen.getAllByText('w0')).toHaveLength(2)
})
