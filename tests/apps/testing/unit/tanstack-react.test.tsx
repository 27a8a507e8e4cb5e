// @vitest-environment jsdom
// `useLiveQuery` over a mirrored table.

import { eq, useLiveQuery } from '@tanstack/react-db'
import { createCollection } from '@tanstack/react-db'
import { cleanup, fireEvent, render, screen } from '@testing-library/react'
import { afterEach, expect, test } from 'vitest'
import { mareaCollectionOptions } from '@marea/client/tanstack-db'
import { closeAll, offlineDevice } from '../setup/words.ts'
import type { Device } from '../setup/words.ts'

afterEach(async () => {
  cleanup()
  await closeAll()
})

const itemsOf = ({ marea }: Device) => createCollection(mareaCollectionOptions({ marea, table: 'vocabulary_items' }))

function Words({ items }: { items: ReturnType<typeof itemsOf> }) {
  const { data, isLoading } = useLiveQuery((q) =>
    q.from({ i: items }).where(({ i }) => eq(i.level, 'a1')).orderBy(({ i }) => i.word),
  )
  return (
    <section>
      <button onClick={() => items.insert({ word: 'gato', level: 'a1' })}>Add</button>
      <output>{isLoading ? 'loading' : data.map(({ word }) => word).join(' ')}</output>
      {data.map(({ id, word }) => (
        <button key={id} onClick={() => items.update(id, (draft) => void (draft.level = 'b1'))}>{`Learned ${word}`}</button>
      ))}
    </section>
  )
}

test('a component shows, adds and changes rows', async () => {
  const device = await offlineDevice()
  await device.marea.table('vocabulary_items').insert({ word: 'casa', level: 'a1' })
  render(<Words items={itemsOf(device)} />)
  await screen.findByText('casa')
  fireEvent.click(screen.getByText('Add'))
  await screen.findByText('casa gato')
  fireEvent.click(screen.getByText('Learned casa'))
  await screen.findByText('gato')
  await expect.poll(async () => (await device.marea.table('vocabulary_items').list({ order: ['word'] })).map(({ level }) => level)).toEqual(['b1', 'a1'])
})
