// A long queue and those who watch it: what they are told is its beginning and how long it is, and costs no more than that of a
// short one.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import { openMarea, servePage, startBrowser, waitFor } from './harness.mjs'

const LENGTH = 10_000

let stage, browser
before(async () => {
  stage = { backend: { url: 'http://127.0.0.1:9', anon_key: 'anon' }, ...(await servePage()) }
  browser = await startBrowser(stage)
})

const fill = (page, count) =>
  page.evaluate(async (count) => {
    window.ids = []
    for (let made = 0; made < count; made += 1_000) {
      const some = Array.from({ length: 1_000 }, () => window.marea.recordSession({ session_type: 'qa' }))
      window.ids.push(...(await Promise.all(some)).map(({ id }) => id))
    }
  }, count)

const recordInTurn = (page, count) =>
  page.evaluate(async (count) => {
    const start = performance.now()
    for (let made = 0; made < count; made++) await window.marea.recordSession({ session_type: 'qa' })
    return (performance.now() - start) / count
  }, count)

test('a watcher of a long queue is told its beginning and how long it is', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, { id: randomUUID(), token: null }, { online: false })
  await fill(page, LENGTH)
  const alone = await recordInTurn(page, 100)
  await page.evaluate(() => {
    window.told = []
    window.marea.watchQueue((queue) => window.told.push(queue))
    window.marea.watchQueue((queue) => (window.few = queue), undefined, { limit: 2 })
  })
  await waitFor('the queue', () => page.evaluate(() => window.told.length), (times) => times > 0)
  const watched = await recordInTurn(page, 100)
  t.diagnostic(`a session, with ${LENGTH} unsent: ${alone.toFixed(2)} ms; with two watchers of the queue: ${watched.toFixed(2)} ms`)
  const last = await waitFor(
    'the last session',
    () => page.evaluate(() => window.told.at(-1)),
    (queue) => queue.pending_count === LENGTH + 200,
  )
  assert.deepEqual([last.pending.length, last.rejected_count, last.rejected], [100, 0, []])
  assert.deepEqual(last.pending.map(({ id }) => id), await page.evaluate(() => window.ids.slice(0, 100)))
  const few = await waitFor('the other watcher', () => page.evaluate(() => window.few), (queue) => queue.pending_count === LENGTH + 200)
  assert.equal(few.pending.length, 2)
  const refused = await page.evaluate(
    () => new Promise((resolve) => window.marea.watchQueue(() => resolve(null), (error) => resolve(error.code), { limit: 1_001 })),
  )
  assert.equal(refused, 'invalid_input')
})
