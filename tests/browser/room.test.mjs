// More on the server than `localStorage` has room for: what fits is the newest, work goes on, and the status says so.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { openMarea, progress, record, startBrowser, startStage, status, sync, waitUntilSent } from './harness.mjs'

const EXPORTS = 8_000

let stage, browser
before(async () => {
  stage = await startStage()
  browser = await startBrowser(stage)
})

const newest = (page) => page.evaluate(() => window.marea.exports({ limit: 500 }).then(({ exports }) => exports))

test('a first sync that is larger than localStorage keeps the newest, ends, and says so', async (t) => {
  const learner = await stage.signUp()
  await stage.database.query(
    `INSERT INTO public.export_history (id, user_id, export_type, export_format, status, filters, data, created_at)
     SELECT gen_random_uuid(), $1, 'words', 'csv', 'completed', jsonb_build_object('number', n),
            jsonb_build_object('text', repeat('x', 600)), now() - make_interval(secs => $2 - n)
     FROM generate_series(1, $2::int) AS n`,
    [learner.id, EXPORTS],
  )
  const page = await browser.newPage(t)
  await page.evaluate(() => localStorage.clear())
  await openMarea(page, stage, learner, { storage: 'local-storage', online: false })
  await record(page)
  await page.evaluate(() => window.marea.setOnline(true))
  await sync(page)
  await waitUntilSent(page)

  const told = await status(page)
  assert.equal(told.last_error?.code, 'storage_full')
  assert.match(told.last_error.message, /on the server only/)
  assert.ok(told.last_synced_at, 'it came to its end')
  assert.ok(Date.parse(told.next_attempt_at) > Date.now() + 60_000, `no loop: ${told.next_attempt_at}`)
  const kept = await newest(page)
  assert.ok(kept.length > 100, `${kept.length} are shown`)
  assert.deepEqual(kept.map(({ filters }) => filters.number), Array.from(kept, (_, index) => EXPORTS - index))

  // A learner's own work finds room, and arrives.
  const note = { note: 'y'.repeat(20_000) }
  for (let made = 0; made < 20; made++) await record(page, { session_type: 'qa', session_data: note })
  await waitUntilSent(page)
  assert.equal((await progress(page)).total_sessions, 21)
  const { rows } = await stage.database.query('SELECT count(*)::int AS n FROM public.sessions WHERE user_id = $1', [learner.id])
  assert.equal(rows[0].n, 21)

  await page.evaluate(() => window.marea.close())
  await openMarea(page, stage, learner, { storage: 'local-storage' })
  const again = await status(page)
  assert.equal(again.last_error?.code, 'storage_full')
  assert.equal((await newest(page))[0].filters.number, EXPORTS)
})
