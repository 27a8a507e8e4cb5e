// The core of it, for browsers that are driven by hand: two tabs, a leader that goes, a reload. A tab is what
// `firefox.mjs` or `webkit.mjs` makes: `load()`, `run(function, ...arguments)`, `close()`.

import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { serve } from '../../demo/serve.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** No server is needed. */
export const OPTIONS = { url: 'http://127.0.0.1:9', anonKey: 'anon', userId: '6d0f0000-0000-4000-8000-000000000001', online: false }

export const servePackage = () => serve({ mounts: { '/': `${root}tests/browser/page`, '/marea/': `${root}wasm/dist` } })

export const record = (tab) => tab.run(() => window.marea.recordSession({ session_type: 'qa' }))
export const total = (tab) => tab.run(() => window.marea.progress().then((progress) => progress.total_sessions))
export const storage = (tab) => tab.run(() => window.marea.status().then((status) => status.storage))

const timed = (tab) =>
  tab.run(async () => {
    const write = () => window.marea.recordSession({ session_type: 'qa' })
    const start = performance.now()
    for (let made = 0; made < 100; made++) await write()
    const between = performance.now()
    await Promise.all(Array.from({ length: 100 }, write))
    return [between - start, performance.now() - between].map(Math.round)
  })

export async function normalWindow(newTab, place = 'opfs') {
  const first = await newTab()
  await record(first)
  assert.equal(await storage(first), place)
  const second = await newTab()
  assert.equal((await record(second)).pending, 2)
  assert.deepEqual([await total(first), await total(second)], [2, 2])
  console.log(`  two tabs share one mirror, kept in ${place}`)
  const [inTurn, atOnce] = await timed(second)
  console.log(`  100 sessions from the tab that follows: ${inTurn} ms one after the other, ${atOnce} ms at once`)
  const goneAt = Date.now()
  await first.close()
  assert.equal(await total(second), 202)
  console.log(`  the leader closed: served again after ${Date.now() - goneAt} ms`)
  await second.load()
  assert.equal(await total(second), 202)
  console.log('  after a reload all of it is there')
}
