// The adapter for Vue, in an app.

import { createApp, createSSRApp, defineComponent, h, nextTick, ref } from 'vue'
import type { Ref } from 'vue'
import { renderToString } from 'vue/server-renderer'
import { afterEach, expect, test, vi } from 'vitest'
import { marea as plugin, provideMarea, useActivity, useMarea, useProgress, useQuery, useRow, useSyncStatus, useTable } from '@marea/client/vue'
import { localDay } from '@marea/client'
import { closeAll, offlineDevice } from '../setup/words.ts'
import type { Device } from '../setup/words.ts'

afterEach(closeAll)

function mount(component: object, device?: Device) {
  const place = document.createElement('div')
  const app = createApp(component)
  if (device) app.use(plugin, device.source)
  app.mount(place)
  return { place, app }
}

test('values are shown, follow the mirror, and stop with the component', async () => {
  const device = await offlineDevice({ now: '2026-03-01T10:00:00' })
  const Shown = defineComponent(() => {
    const { state } = useMarea()
    const [progress, status, week] = [useProgress(), useSyncStatus(), useActivity({ days: 7 })]
    const today = () => week.data.value?.map(({ day }) => day).join(' ')
    return () => h('p', `${state.value.state} ${progress.loading.value} ${progress.data.value?.total_sessions} ${status.data.value?.pending} ${today()}`)
  })
  const { place, app } = mount(Shown, device)
  expect(place.textContent).toBe('opening true undefined undefined undefined')
  await vi.waitFor(() => expect(place.textContent).toBe('open false 0 0 '))
  await device.marea.recordSession({ session_type: 'qa' })
  await vi.waitFor(() => expect(place.textContent).toBe(`open false 1 1 ${localDay(device.clock.now)}`))
  // A week later the day is none of the last seven.
  await device.clock.set('2026-03-08T10:00:00')
  await vi.waitFor(() => expect(place.textContent).toBe('open false 1 1 '))
  const marea = await device.reload()
  await marea.recordSession({ session_type: 'qa' })
  await vi.waitFor(() => expect(place.textContent).toBe('open false 2 2 2026-03-08'))
  app.unmount()
  await device.marea.recordSession({ session_type: 'qa' })
  await device.clock.settled()
  expect(place.textContent).toBe('')
})

test('arguments may be refs, and errors are shown', async () => {
  const device = await offlineDevice()
  const items = device.marea.table('vocabulary_items')
  const ids = [await items.insert({ word: 'gato', level: 'a1' }), await items.insert({ word: 'perro', level: 'b1' })]
  const [level, key] = [ref('a1') as Ref<'a1' | 'b1'>, ref(ids[0]!)]
  const sql = ref('SELECT count(*) AS n FROM vocabulary_items')
  const Shown = defineComponent(() => {
    provideMarea(device.marea as never)
    return () => h(Words)
  })
  const Words = defineComponent(() => {
    const list = useTable('vocabulary_items', () => ({ where: { level: level.value } }))
    const row = useRow('vocabulary_items', key)
    const counted = useQuery<{ n: number }>(sql)
    return () => h('p', [list.data.value?.map(({ word }) => word).join(' '), row.data.value?.word, counted.data.value?.[0]?.n, counted.error.value?.code].join(','))
  })
  const { place, app } = mount(Shown)
  await vi.waitFor(() => expect(place.textContent).toBe('gato,gato,2,'))
  level.value = 'b1'
  key.value = ids[1]!
  await nextTick()
  await vi.waitFor(() => expect(place.textContent).toBe('perro,perro,2,'))
  sql.value = 'DELETE FROM vocabulary_items'
  await vi.waitFor(() => expect(place.textContent).toBe('perro,perro,,query_refused'))
  app.unmount()
})

test('on a server nothing is followed', async () => {
  const device = await offlineDevice()
  const subscribe = vi.spyOn(device.source, 'subscribe')
  const Shown = defineComponent(() => {
    const [{ state }, progress] = [useMarea(), useProgress()]
    return () => h('p', `${state.value.state} ${progress.loading.value}`)
  })
  expect(await renderToString(createSSRApp(Shown).use(plugin, device.source))).toBe('<p>opening true</p>')
  expect(subscribe).not.toHaveBeenCalled()
})

test('without a mirror it says what is missing', () => {
  const Shown = defineComponent(() => {
    useProgress()
    return () => h('p')
  })
  const said = vi.spyOn(console, 'warn').mockImplementation(() => undefined)
  expect(() => mount(Shown)).toThrow(/app.use\(marea, source\)/)
  said.mockRestore()
})
