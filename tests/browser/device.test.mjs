// What the device alone has to stand: it is opened, written to, reloaded, killed; with a second tab and a second user.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { load, openMarea, progress, record, startStage, status, withBrowser } from './harness.mjs'

// Nothing listens there: these tests need no server.
const NOWHERE = 'http://127.0.0.1:9'

let stage
before(async () => {
  stage = await startStage()
})

test('open, record a session, read the progress', async (t) => {
  const learner = await stage.signUp()
  const browser = await withBrowser(t, stage)
  const page = await browser.newPage()
  await openMarea(page, stage, learner, { url: NOWHERE })

  assert.equal((await progress(page)).total_sessions, 0)
  const recorded = await record(page)
  assert.match(recorded.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
  assert.equal(recorded.pending, 1)

  const seen = await progress(page)
  assert.equal(seen.total_sessions, 1)
  assert.equal(seen.total_time_spent_minutes, 10)
  assert.equal(seen.average_accuracy, 75)
  assert.equal(seen.current_streak_days, 1)
  assert.equal((await status(page)).storage, 'opfs')
  assert.deepEqual(page.problems, [])
})
