// Several tabs of one learner: one leads, the others are served by it, and when it goes another takes over. No server.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { load, openMarea, progress, record, servePage, startBrowser, status, waitFor } from './harness.mjs'
import { leadingPage, openTabs, takeOver } from './tabs.mjs'

const NOWHERE = { url: 'http://127.0.0.1:9', anon_key: 'anon' }

let stage, browser
before(async () => {
  stage = { backend: NOWHERE, ...(await servePage()) }
  // Tabs as a person's: those that are not in front are hidden, and can be frozen.
  browser = await startBrowser(stage, { plain: true })
})

const newLearner = () => ({ id: randomUUID(), token: null })
const leads = (page) => page.evaluate(() => window.marea.leads)
const totalOf = async (page) => (await progress(page)).total_sessions

test('a second tab reads, writes and watches as if the mirror were its own', async (t) => {
  const learner = newLearner()
  const [first, second] = await openTabs(t, browser, stage, learner, 2)
  await second.evaluate(() => {
    window.seen = []
    window.marea.watchProgress((progress) => window.seen.push(progress.total_sessions))
  })
  await record(first)
  const { id, pending } = await record(second)
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
  assert.equal(pending, 2)
  assert.deepEqual([await totalOf(first), await totalOf(second)], [2, 2])
  await waitFor('the second tab to be told', () => second.evaluate(() => window.seen.at(-1)), (seen) => seen === 2)
  // A round may begin or end between the two answers.
  const both = async () => [await status(first), await status(second)]
  await waitFor('both tabs to have one status', both, ([one, other]) => isDeepStrictEqual(one, other))
  const refused = await second.evaluate(() => window.failureOf(() => window.marea.recordSession({ session_type: '' })))
  assert.equal(refused.code, 'invalid_input')
  assert.deepEqual([...first.problems, ...second.problems], [])
})

test('airplane mode holds for all tabs, also after the tab that set it is gone', async (t) => {
  const learner = newLearner()
  const [first, second] = await openTabs(t, browser, stage, learner, 2)
  await first.evaluate(() => window.marea.setOnline(false))
  const outcome = async () => (await second.evaluate(() => window.marea.sync())).outcome
  assert.equal(await outcome(), 'offline')
  await first.close()
  assert.equal(await outcome(), 'offline')
  await second.evaluate(() => window.marea.setOnline(true))
  // It tries, and the app has no token to give.
  assert.equal(await outcome(), 'need_token')
})

for (const [name, go] of Object.entries(takeOver)) {
  test(`a leader that is ${name} is replaced, and calls under way are done once`, async (t) => {
    const learner = newLearner()
    const tabs = await openTabs(t, browser, stage, learner, 3)
    const leader = await leadingPage(tabs)
    const [one, other] = tabs.filter((tab) => tab !== leader)
    await record(one)
    // Writes that are made while the leader goes: some reach it, some do not, some are done and their answer is lost.
    await one.evaluate(() => {
      window.made = []
      window.stopWriting = false
      window.writing = (async () => {
        while (!window.stopWriting) window.made.push((await window.marea.recordSession({ session_type: 'qa' })).id)
      })()
    })
    await waitFor('some writes', () => one.evaluate(() => window.made.length), (made) => made > 5)
    const goneAt = Date.now()
    await go(browser, leader)
    await waitFor('another leader', () => leadingPage([one, other]), (found) => found !== null)
    assert.ok((await totalOf(other)) > 5)
    t.diagnostic(`served again ${Date.now() - goneAt} ms after it was ${name}`)
    const madeSoFar = await one.evaluate(() => window.made.length)
    await waitFor('more writes', () => one.evaluate(() => window.made.length), (made) => made > madeSoFar + 5)
    const made = await one.evaluate(async () => {
      window.stopWriting = true
      await window.writing
      return window.made
    })
    assert.equal(new Set(made).size, made.length)
    assert.equal(await totalOf(other), made.length + 1)
    assert.equal(await totalOf(one), made.length + 1)
  })
}

test('a frozen leader that wakes up follows, and what it had under way is done once', async (t) => {
  const learner = newLearner()
  const [first, second] = await openTabs(t, browser, stage, learner, 2)
  const devtools = await browser.context.newCDPSession(first)
  await first.evaluate(() => {
    window.made = Array.from({ length: 50 }, () => window.marea.recordSession({ session_type: 'qa' }))
  })
  await devtools.send('Page.setWebLifecycleState', { state: 'frozen' })
  assert.ok((await totalOf(second)) <= 50)
  await record(second)
  await devtools.send('Page.setWebLifecycleState', { state: 'active' })
  const ids = await first.evaluate(async () => (await Promise.all(window.made)).map((recorded) => recorded.id))
  assert.equal(new Set(ids).size, 50)
  assert.deepEqual([await totalOf(first), await totalOf(second)], [51, 51])
  assert.deepEqual([await leads(first), await leads(second)], [false, true])
})

test('of tabs that are opened at the same time each is served', async (t) => {
  const learner = newLearner()
  const pages = await Promise.all(Array.from({ length: 5 }, () => browser.newPage(t)))
  await Promise.all(pages.map((page) => openMarea(page, stage, learner)))
  await Promise.all(pages.map((page) => record(page)))
  assert.deepEqual(await Promise.all(pages.map(totalOf)), [5, 5, 5, 5, 5])
})

test('one page may open the same mirror twice', async (t) => {
  const page = await browser.newPage(t)
  const learner = newLearner()
  await openMarea(page, stage, learner)
  await page.evaluate(() => (window.first = window.marea))
  await openMarea(page, stage, learner)
  await record(page)
  await page.evaluate(() => window.first.close())
  await record(page)
  assert.equal(await totalOf(page), 2)
})

test('tabs that are reloaded all the time lose nothing', async (t) => {
  const learner = newLearner()
  const tabs = await openTabs(t, browser, stage, learner, 2)
  let made = 0
  for (let round = 0; round < 6; round++) {
    const [reloaded, other] = round % 2 === 0 ? tabs : [...tabs].reverse()
    await Promise.all([
      load(reloaded, stage).then(() => openMarea(reloaded, stage, learner)),
      record(other).then(() => made++),
    ])
    await record(reloaded).then(() => made++)
  }
  assert.deepEqual(await Promise.all(tabs.map(totalOf)), [made, made])
})

test('erase takes the mirror off the device, in all tabs; close keeps it', async (t) => {
  const learner = newLearner()
  const [first, second] = await openTabs(t, browser, stage, learner, 2)
  await record(first)
  await second.evaluate(() => window.marea.close())
  await openMarea(second, stage, learner)
  assert.equal(await totalOf(second), 1)

  assert.equal(await second.evaluate(() => window.marea.erase()), 1, 'what went unsent')
  const codeOf = async (page) => (await page.evaluate(() => window.failureOf(() => window.marea.progress())))?.code
  assert.equal(await codeOf(second), 'closed')
  await waitFor('the other tab to hear of it', () => codeOf(first), (code) => code === 'closed')
  await openMarea(first, stage, learner)
  const seen = await status(first)
  assert.deepEqual([await totalOf(first), seen.pending, seen.recovery ?? null], [0, 0, null])
})
