// What an app can call beside sessions and progress, in a tab that leads and in one that follows, against a real server.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import { progress, startBrowser, startStage, status, sync, waitFor, waitUntilSent } from './harness.mjs'
import { openTabs } from './tabs.mjs'

let stage, browser
before(async () => {
  stage = await startStage()
  browser = await startBrowser(stage)
})

const call = (page, method, ...args) =>
  page.evaluate(([method, args]) => window.marea[method](...args), [method, args])

test('awards count, the same one once', async (t) => {
  const [leader, follower] = await openTabs(t, browser, stage, await stage.signUp(), 2)
  const id = randomUUID()
  const award = { id, points: 50, mastered_words: 3, achievements: ['first-steps'] }
  assert.equal((await call(follower, 'recordEvent', award)).id, id)
  await call(leader, 'recordEvent', award)
  await waitUntilSent(leader)
  for (const page of [leader, follower]) {
    const seen = await progress(page)
    assert.deepEqual([seen.total_points, seen.mastered_words_count, Object.keys(seen.achievements)], [50, 3, ['first-steps']])
  }
})

test('exports are made, changed, listed page by page, watched, and reach Postgres with 64-bit sizes whole', async (t) => {
  const learner = await stage.signUp()
  const [leader, follower] = await openTabs(t, browser, stage, learner, 2)
  await follower.evaluate(() => {
    window.seen = []
    window.marea.watchExports({ status: 'completed' }, (page) => window.seen.push(page.exports.length))
  })
  const made = []
  for (const page of [leader, follower, leader]) {
    const input = { export_type: 'progress', export_format: 'csv', filters: { from: '2026-01-01' } }
    made.push((await call(page, 'createExport', input)).id)
  }
  const size = '9007199254740993' // 2^53 + 1: a JavaScript number cannot hold it.
  await call(follower, 'updateExport', made[0], { status: 'completed', file_size_bytes: size })
  const one = await call(leader, 'export', made[0])
  assert.deepEqual([one.status, one.file_size_bytes, one.filters.from], ['completed', size, '2026-01-01'])
  assert.equal(await call(follower, 'export', randomUUID()), null)

  const first = await call(follower, 'exports', { limit: 2 })
  const second = await call(follower, 'exports', { limit: 2, after: first.next })
  const listed = [...first.exports, ...second.exports].map((row) => row.id)
  assert.deepEqual(listed.sort(), [...made].sort())
  assert.equal(second.next ?? null, null)
  await waitFor('the follower to see the change', () => follower.evaluate(() => window.seen.at(-1)), (seen) => seen === 1)

  await waitUntilSent(leader)
  const rows = await stage.database.query(
    'SELECT status, file_size_bytes::text AS size FROM public.export_history WHERE user_id = $1 ORDER BY status',
    [learner.id],
  )
  assert.deepEqual(rows.rows, [
    { status: 'completed', size },
    { status: 'pending', size: null },
    { status: 'pending', size: null },
  ])
  const refused = await follower.evaluate(
    (id) => window.failureOf(() => window.marea.updateExport(id, { status: 'failed' })),
    randomUUID(),
  )
  assert.equal(refused.code, 'invalid_input')
})

test('what the server refuses is shown with its reason, and can be tried again or forgotten', async (t) => {
  const learner = await stage.signUp()
  const [leader, follower] = await openTabs(t, browser, stage, learner, 2)
  await waitUntilSent(leader)
  await follower.evaluate(() => {
    window.queue = null
    window.marea.watchQueue((queue) => (window.queue = queue))
  })
  // A rule of the app's own, in its own database.
  await stage.database.query(
    `ALTER TABLE public.sessions ADD CONSTRAINT no_such_type CHECK (session_type <> 'forbidden') NOT VALID`,
  )
  t.after(() => stage.database.query('ALTER TABLE public.sessions DROP CONSTRAINT IF EXISTS no_such_type'))
  const { id } = await call(follower, 'recordSession', { session_type: 'forbidden' })
  const kept = (await call(leader, 'recordSession', { session_type: 'qa' })).id
  const queue = await waitFor('the refusal', () => follower.evaluate(() => window.queue), (seen) => seen?.rejected.length === 1)
  const [refused] = queue.rejected
  assert.deepEqual([refused.id, refused.refusal.code, refused.values.session_type], [id, '23514', 'forbidden'])
  assert.equal((await status(follower)).rejected, 1)

  await stage.database.query('ALTER TABLE public.sessions DROP CONSTRAINT no_such_type')
  assert.equal(await call(follower, 'retry', id), true)
  await waitUntilSent(leader)
  const { rows } = await stage.database.query('SELECT id FROM public.sessions WHERE user_id = $1 ORDER BY id', [learner.id])
  assert.deepEqual(rows.map((row) => row.id), [id, kept].sort())
  assert.equal(await call(leader, 'discard', id), false, 'nothing is refused any more')
  assert.deepEqual(await call(leader, 'rejected'), [])
})

test('diagnostics tell support how it goes, and nothing of the learner', async (t) => {
  const learner = await stage.signUp()
  const [, follower] = await openTabs(t, browser, stage, learner, 2)
  await call(follower, 'recordSession', { session_type: 'a-secret-kind' })
  await waitUntilSent(follower)
  await sync(follower)
  const text = await call(follower, 'diagnostics')
  assert.equal(JSON.parse(text).status.pending, 0)
  assert.ok(!text.includes('a-secret-kind') && !text.includes(learner.token))
})
