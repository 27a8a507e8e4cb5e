// How many requests the writes of a page make, and what the report of a sync tells of those that were under way.
//
// Neither depends on how fast the machine is: a request is held until the test lets it go, or the time that passed is measured.

import assert from 'node:assert/strict'
import { afterEach, before, test } from 'node:test'
import { assertArrived, openMarea, record, startBrowser, startStage, status, waitFor, waitUntilSent } from './harness.mjs'

const SYNC = '/rest/v1/rpc/marea_sync'
// Writes that come one upon the other share a request a second.
const GATHER_MS = 1_000

let stage, browser
before(async () => {
  stage = await startStage()
  browser = await startBrowser(stage)
})
afterEach(() => stage.clearFaults())

/** A page of a new learner, with its first sync over. */
async function settledPage(t) {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  await waitUntilSent(page)
  await waitFor('no round to be under way', () => status(page), (seen) => !seen.syncing)
  return { learner, page }
}

test('the report of a sync tells of the round that was under way too', async (t) => {
  const { learner, page } = await settledPage(t)
  let held = 0
  let letGo
  const released = new Promise((resolve) => (letGo = resolve))
  await page.route(`**${SYNC}`, async (route) => {
    held++
    await released
    await route.continue()
  })
  const ids = []
  for (let count = 0; count < 5; count++) ids.push((await record(page)).id)
  await waitFor('a request to be under way', () => held, (count) => count === 1)
  // Calls are taken in their order: with the second answered, the first is waiting for its round.
  await page.evaluate(() => {
    window.report = window.marea.sync()
    return window.marea.status()
  })
  letGo()
  const report = await page.evaluate(() => window.report)
  assert.deepEqual([report.outcome, report.pushed, report.rejected, report.pending], ['done', 5, 0, 0])
  await assertArrived(stage, learner, ids)
})

test('ten writes a second make at most one request a second', async (t) => {
  const { learner, page } = await settledPage(t)
  // A delay of nothing only counts the calls, at the gateway.
  await stage.fault({ kind: 'delay', path: SYNC, delay_ms: 0 })
  const started = Date.now()
  await page.evaluate(() => {
    window.recorded = []
    window.writing = setInterval(() => window.recorded.push(window.marea.recordSession({ session_type: 'qa' })), 100)
  })
  const writes = () => page.evaluate(() => window.recorded.length)
  const seen = async () => [await stage.faultsFired(), await writes()]
  await waitFor('some requests and many writes', seen, ([fired, written]) => fired >= 4 && written >= 40)
  const ids = await page.evaluate(async () => {
    clearInterval(window.writing)
    return (await Promise.all(window.recorded)).map(({ id }) => id)
  })
  await waitUntilSent(page)
  const fired = await stage.faultsFired()
  const elapsedMs = Date.now() - started
  assert.ok(fired <= 1 + elapsedMs / GATHER_MS, `${fired} requests in ${elapsedMs} ms`)
  await assertArrived(stage, learner, ids)
})
