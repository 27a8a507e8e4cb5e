// Who ought to answer and never does: a page that is asked for a token, and a tab that leads.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import { assertArrived, load, openMarea, record, startBrowser, startStage, waitFor, waitUntilSent } from './harness.mjs'

let stage, browser
before(async () => {
  stage = await startStage()
  browser = await startBrowser(stage, { plain: true })
})

/** Opens the mirror in a page whose app never answers when it is asked for a token. */
const openMute = (page, learner, options = {}) =>
  page.evaluate(
    async ([options, base]) => {
      const { open } = await import('/marea/index.js')
      window.asked = 0
      window.marea = await open({
        ...base,
        ...options,
        getAccessToken() {
          window.asked++
          return new Promise(() => undefined)
        },
      })
    },
    [options, { url: stage.backend.url, anonKey: stage.backend.anon_key, userId: learner.id }],
  )

test("a leading page that never answers for a token does not hold up another tab's", async (t) => {
  const learner = await stage.signUp()
  const [mute, other] = [await browser.newPage(t), await browser.newPage(t)]
  await openMute(mute, learner)
  assert.equal(await mute.evaluate(() => window.marea.leads), true)
  await openMarea(other, stage, learner)
  const { id } = await record(mute)
  await waitUntilSent(other)
  assert.ok((await mute.evaluate(() => window.asked)) > 0)
  await assertArrived(stage, learner, [id])
})

test('a tab that leads and never answers: reads are refused after a while, a write waits for one who knows', async (t) => {
  const learner = { id: randomUUID(), token: null }
  const [leader, page] = [await browser.newPage(t), await browser.newPage(t)]
  // It holds the lock and says that it leads, once; whatever is asked of it, it does nothing.
  await leader.evaluate(async (userId) => {
    const meeting = `marea:${userId}`
    await new Promise((held) => void navigator.locks.request(meeting, () => new Promise((release) => held((window.release = release)))))
    const [inbox, news] = [new BroadcastChannel(`${meeting}:leader`), new BroadcastChannel(`${meeting}:news`)]
    window.calls = []
    inbox.onmessage = ({ data }) => {
      if (data.kind === 'hello' && window.calls.length === 0) {
        news.postMessage({ kind: 'leading', term: 'mute', version: { protocol: 1, mirror: 99, calls: 99 }, online: true })
      }
      if (data.kind === 'calls') window.calls.push(...data.calls)
    }
  }, learner.id)
  await page.clock.install()
  await load(page, stage)
  await openMarea(page, stage, learner)
  assert.equal(await page.evaluate(() => window.marea.leads), false)
  await page.evaluate(() => {
    window.outcomes = {}
    const note = (name, promise) => promise.then(() => (window.outcomes[name] = 'done'), (error) => (window.outcomes[name] = error.code))
    note('read', window.marea.progress())
    note('write', window.marea.recordSession({ session_type: 'qa' }))
  })
  await waitFor('the calls to be sent', () => leader.evaluate(() => window.calls.length), (count) => count >= 2)
  await page.clock.runFor(15_000)
  assert.deepEqual(await page.evaluate(() => window.outcomes), {})
  await page.clock.runFor(10_000)
  assert.deepEqual(await page.evaluate(() => window.outcomes), { read: 'mirror_locked' })
  const refused = await page.evaluate(() => window.failureOf(() => window.marea.status()))
  assert.deepEqual([refused?.code, refused?.retry], ['mirror_locked', true])

  await leader.evaluate(() => window.release())
  await waitFor('the write', () => page.evaluate(() => window.outcomes.write), (outcome) => outcome === 'done')
  assert.equal((await page.evaluate(() => window.marea.progress())).total_sessions, 1)
})
