/** @jsxImportSource solid-js */
// The adapter for Solid, in components.

import { createSignal, For } from 'solid-js'
import { render } from 'solid-js/web'
import { afterEach, expect, test, vi } from 'vitest'
import { MareaProvider, useActivity, useMarea, useProgress, useQuery, useRow, useSyncStatus, useTable } from '@marea/client/solid'
import { closeAll, offlineDevice } from '../setup/words.ts'

afterEach(closeAll)

test('values are shown, follow the mirror and their arguments, and stop with the component', async () => {
  const device = await offlineDevice({ now: '2026-03-01T10:00:00' })
  const items = device.marea.table('vocabulary_items')
  const ids = [await items.insert({ word: 'gato', level: 'a1' }), await items.insert({ word: 'perro', level: 'b1' })]
  const [level, setLevel] = createSignal<'a1' | 'b1'>('a1')
  const [key, setKey] = createSignal(ids[0]!)
  function Shown() {
    const { state } = useMarea()
    const [progress, status, week] = [useProgress(), useSyncStatus(), useActivity({ days: 7 })]
    const words = useTable('vocabulary_items', () => ({ where: { level: level() } }))
    const [row, refused] = [useRow('vocabulary_items', key), useQuery('DELETE FROM vocabulary_items')]
    return (
      <section>
        <button onClick={() => void state().marea?.recordSession({ session_type: 'qa' })}>Done</button>
        <output>
          {[state().state, progress.data?.total_sessions, status.data?.pending, week.data?.map(({ day }) => day).join(' ')].join(',')},
          <For each={words.data}>{({ word }) => word}</For>,{row.data?.word},{refused.error?.code}
        </output>
      </section>
    )
  }
  // Solid listens for clicks at the document.
  const place = document.body.appendChild(document.createElement('div'))
  const dispose = render(
    () => (
      <MareaProvider source={device.source}>
        <Shown />
      </MareaProvider>
    ),
    place,
  )
  const text = () => place.querySelector('output')?.textContent
  await vi.waitFor(() => expect(text()).toBe('open,0,2,,gato,gato,query_refused'))
  place.querySelector('button')?.click()
  await vi.waitFor(() => expect(text()).toBe('open,1,3,2026-03-01,gato,gato,query_refused'))
  setLevel('b1')
  setKey(ids[1]!)
  await vi.waitFor(() => expect(text()).toBe('open,1,3,2026-03-01,perro,perro,query_refused'))
  await device.clock.set('2026-03-08T10:00:00')
  await vi.waitFor(() => expect(text()).toBe('open,1,3,,perro,perro,query_refused'))
  await device.reload()
  await vi.waitFor(() => expect(text()).toBe('open,1,3,,perro,perro,query_refused'))
  dispose()
  await device.marea.recordSession({ session_type: 'qa' })
  await device.clock.settled()
  expect(place.textContent).toBe('')
})

test('without a mirror it says what is missing', () => {
  function Shown() {
    useProgress()
    return <p />
  }
  expect(() => render(() => <Shown />, document.createElement('div'))).toThrow(/MareaProvider/)
})
