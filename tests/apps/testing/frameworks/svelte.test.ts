// The adapter for Svelte, in components.

import { flushSync, mount, unmount } from 'svelte'
import { afterEach, expect, test, vi } from 'vitest'
import { closeAll, offlineDevice } from '../setup/words.ts'
import App from './App.svelte'
import Words from './Words.svelte'
import { shown } from './shown.svelte.ts'

afterEach(closeAll)

test('stores are shown, follow the mirror and their arguments, and stop with the component', async () => {
  const device = await offlineDevice({ now: '2026-03-01T10:00:00' })
  const target = document.createElement('div')
  const app = mount(App, { target, props: { source: device.source, shown } })
  const text = () => {
    flushSync()
    return target.querySelector('output')?.textContent
  }
  await vi.waitFor(() => expect(text()).toBe('open,0,0,,,query_refused'))
  target.querySelector('button')?.click()
  await vi.waitFor(() => expect(text()).toBe('open,1,1,2026-03-01,,query_refused'))
  await device.marea.table('vocabulary_items').insert({ word: 'gato', level: 'a1' })
  await device.marea.table('vocabulary_items').insert({ word: 'perro', level: 'b1' })
  await vi.waitFor(() => expect(text()).toBe('open,1,3,2026-03-01,gato,query_refused'))
  shown.level = 'b1'
  await vi.waitFor(() => expect(text()).toBe('open,1,3,2026-03-01,perro,query_refused'))
  await device.clock.set('2026-03-08T10:00:00')
  await vi.waitFor(() => expect(text()).toBe('open,1,3,,perro,query_refused'))
  await device.reload()
  await vi.waitFor(() => expect(text()).toBe('open,1,3,,perro,query_refused'))
  await unmount(app)
  await device.marea.recordSession({ session_type: 'qa' })
  await device.clock.settled()
  expect(target.textContent).toBe('')
})

test('without a mirror it says what is missing', () => {
  expect(() => mount(Words, { target: document.createElement('div'), props: { level: 'a1' } })).toThrow(/provideMarea/)
})
