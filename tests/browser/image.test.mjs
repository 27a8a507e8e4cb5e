// The image in localStorage and its log: what was acknowledged is there for whoever leads next, however late the browser shows it to
// other pages; and a write costs what it changes, not the whole image.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import { INSECURE_HOST, openMarea, progress, record, servePage, startBrowser, untilReady, waitFor } from './harness.mjs'
import { leadingPage, takeOver } from './tabs.mjs'

const LOCAL = { storage: 'local-storage', online: false }
const IMAGE = 2_000

let stage, browser
before(async () => {
  stage = { backend: { url: 'http://127.0.0.1:9', anon_key: 'anon' }, ...(await servePage()) }
  browser = await startBrowser(stage)
})

/** Two tabs of a learner whose image holds so many sessions: who leads, and who follows. */
async function twoTabs(t, sessions, url = stage.pageUrl) {
  const learner = { id: randomUUID(), token: null }
  const tabs = [await browser.newPage(t), await browser.newPage(t)]
  for (const page of tabs) {
    await page.goto(url)
    await untilReady(page)
    // What the tests before have left takes most of the room.
    if (page === tabs[0]) await page.evaluate(() => localStorage.clear())
    await openMarea(page, stage, learner, LOCAL)
  }
  const leader = await waitFor('a leader', () => leadingPage(tabs), (page) => page !== null)
  await leader.evaluate(
    (count) => Promise.all(Array.from({ length: count }, () => window.marea.recordSession({ session_type: 'qa' }))),
    sessions,
  )
  return { learner, leader, follower: tabs.find((page) => page !== leader) }
}

const recordInTurn = (page, count) =>
  page.evaluate(async (count) => {
    for (let made = 0; made < count; made++) await window.marea.recordSession({ session_type: 'qa' })
  }, count)

for (const writer of ['leader', 'follower']) {
  for (const [how, leave] of Object.entries(takeOver)) {
    test(`of what a ${writer} was told is kept nothing is gone when the leader is ${how} at once`, async (t) => {
      const tabs = await twoTabs(t, IMAGE)
      const more = 20 + Math.floor(Math.random() * 100)
      await recordInTurn(tabs[writer], more)
      await leave(browser, tabs.leader)
      assert.equal((await progress(tabs.follower)).total_sessions, IMAGE + more)
    })
  }
}

test('nor where there are no locks, and tabs ask each other for the lead', async (t) => {
  const tabs = await twoTabs(t, IMAGE, stage.pageUrl.replace('127.0.0.1', INSECURE_HOST))
  assert.equal(await tabs.follower.evaluate(() => navigator.locks === undefined), true)
  await recordInTurn(tabs.follower, 50)
  await recordInTurn(tabs.leader, 50)
  await takeOver.closed(browser, tabs.leader)
  assert.equal((await progress(tabs.follower)).total_sessions, IMAGE + 100)
})

test('what a leader acknowledged while another came to lead, because it did not answer, is in that one too', async (t) => {
  const { leader, follower } = await twoTabs(t, 10, stage.pageUrl.replace('127.0.0.1', INSECURE_HOST))
  const writing = leader.evaluate(async () => {
    const writing = window.marea.recordSession({ session_type: 'qa' })
    // The call is on its way, and its page is busy until another tab has taken the silence for its turn.
    await null
    for (const start = Date.now(); Date.now() - start < 4_000; );
    await writing
  })
  await waitFor('the other tab to lead', () => follower.evaluate(() => window.marea.leads), (leads) => leads)
  await writing
  const total = () => follower.evaluate(() => window.marea.progress().then((progress) => progress.total_sessions))
  await waitFor('the session in the mirror of the new leader', total, (sessions) => sessions === 11)
  await leader.close()
  assert.equal(await total(), 11)
})

/** Waits until a page has looked for the newest image some more times. */
async function looksOn(page) {
  const looked = () => page.evaluate(() => window.looked)
  const before = await looked()
  await waitFor('it to look for the newest image', looked, (times) => times > before + 3)
}

test('a tab that comes to lead waits until it sees the newest image that it was told of, whatever the clock says', async (t) => {
  const { leader, follower } = await twoTabs(t, 10)
  // This page sees localStorage as it is now, as one may to which the browser has not brought the rest yet.
  await follower.evaluate(() => {
    const seen = new Map(Object.keys(localStorage).map((key) => [key, localStorage.getItem(key)]))
    const { getItem, setItem, key } = Storage.prototype
    const length = Object.getOwnPropertyDescriptor(Storage.prototype, 'length')
    Storage.prototype.getItem = (name) => seen.get(name) ?? null
    Storage.prototype.key = (index) => [...seen.keys()][index] ?? null
    Object.defineProperty(Storage.prototype, 'length', { ...length, get: () => seen.size })
    window.looked = 0
    window.begun = false
    Storage.prototype.setItem = function (name, value) {
      window.begun ||= name.endsWith(':owner')
      return setItem.call(this, name, value)
    }
    window.arrive = () => {
      Object.assign(Storage.prototype, { getItem, key })
      Object.defineProperty(Storage.prototype, 'length', length)
    }
    Storage.prototype.getItem = (name) => {
      if (name.endsWith(':image')) window.looked++
      return seen.get(name) ?? null
    }
  })
  await recordInTurn(leader, 5)
  await leader.close()
  const total = follower.evaluate(() => window.marea.progress().then((progress) => progress.total_sessions))
  await looksOn(follower)
  await follower.evaluate(() => {
    const { now } = Date
    Date.now = () => now() + 3_600_000
  })
  await looksOn(follower)
  assert.deepEqual(await follower.evaluate(() => [window.begun, window.marea.leads]), [false, false])
  await follower.evaluate(() => window.arrive())
  assert.equal(await total, 15)
})

test('a write costs what it changes', async (t) => {
  const { learner, leader } = await twoTabs(t, IMAGE)
  const { image, written } = await leader.evaluate(async (key) => {
    const image = localStorage.getItem(key).length
    const { setItem } = Storage.prototype
    let written = 0
    Storage.prototype.setItem = function (name, value) {
      written += value.length
      return setItem.call(this, name, value)
    }
    for (let made = 0; made < 100; made++) await window.marea.recordSession({ session_type: 'qa' })
    return { image, written }
  }, `marea:${learner.id}:image`)
  t.diagnostic(`an image of ${image} characters; 100 sessions wrote ${written}`)
  assert.ok(written < 2 * image, `${written} characters for 100 sessions, and the image has ${image}`)
})

test('a log that has grown goes into the image, and none of it is left', async (t) => {
  const { learner, leader } = await twoTabs(t, 1)
  const entries = () =>
    leader.evaluate((start) => Object.keys(localStorage).filter((key) => key.startsWith(start)).length, `marea:${learner.id}:image:log-`)
  const seen = []
  for (let turn = 0; turn < 400 && !(seen.at(-1) < seen.at(-2)); turn++) {
    await record(leader)
    seen.push(await entries())
  }
  assert.ok(seen.at(-1) < seen.at(-2), `it only grew: ${seen}`)
  await leader.evaluate(() => window.marea.close())
  await openMarea(leader, stage, learner, LOCAL)
  assert.equal((await progress(leader)).total_sessions, 1 + seen.length)
})

test('a log with a hole in it is damage, and what lies before it is saved', async (t) => {
  const { learner, leader, follower } = await twoTabs(t, 1)
  await recordInTurn(leader, 4)
  await Promise.all([follower, leader].map((page) => page.evaluate(() => window.marea.close())))
  const start = `marea:${learner.id}:image:log-`
  await leader.evaluate((start) => {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(start)).sort()
    localStorage.removeItem(keys.at(-2))
  }, start)
  await openMarea(leader, stage, learner, LOCAL)
  const told = await leader.evaluate(() => window.marea.status())
  assert.deepEqual([told.recovery, told.pending], ['set-aside', 3])
})
