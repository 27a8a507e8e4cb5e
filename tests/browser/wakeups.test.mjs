// Two devices of one learner, each a browser of its own: what one records the other shows without asking, through lost messages,
// broken sockets and a network that goes.

import assert from 'node:assert/strict'
import { afterEach, before, test } from 'node:test'
import { sockets } from './backend.mjs'
import { openMarea, progress, record, startBrowser, startStage, status, waitFor, waitUntilSent } from './harness.mjs'

const MINUTE_MS = 60_000

let stage, devices
before(async () => {
  stage = await startStage({}, { wakeups: true })
  devices = [await startBrowser(stage), await startBrowser(stage)]
})
afterEach(async () => {
  await stage.clearFaults()
  for (const { context } of devices) await context.setOffline(false)
})

const joins = (page, expected = 'joined') => waitFor(`wake-ups ${expected}`, () => status(page), ({ wakeups }) => wakeups === expected)

const shows = (page, sessions) =>
  waitFor(`${sessions} sessions`, () => page.evaluate(() => window.shown), (shown) => shown === sessions)

/** A device of this learner on which somebody watches. */
async function open(t, device, learner, options) {
  const page = await device.newPage(t)
  await openMarea(page, stage, learner, options)
  await page.evaluate(() => window.marea.watchProgress((progress) => (window.shown = progress.total_sessions)))
  return page
}

async function openBoth(t) {
  const learner = await stage.signUp()
  const pages = [await open(t, devices[0], learner), await open(t, devices[1], learner)]
  for (const page of pages) await joins(page)
  return { learner, pages }
}

test('what one device records the other one shows, long before it would have looked', async (t) => {
  const { learner, pages } = await openBoth(t)
  const [one, other] = pages
  // A join causes a sync; after that the next look is far away.
  const isFar = ({ next_attempt_at }) => new Date(next_attempt_at) - Date.now() > 25 * MINUTE_MS
  await waitFor('the sync of the join', () => status(other), isFar)
  for (let sessions = 1; sessions <= 3; sessions++) {
    await record(one)
    await shows(other, sessions)
  }
  await record(other)
  await shows(one, 4)
  // Another tab of the device is served by the first one, and has no socket of its own.
  const tab = await open(t, devices[0], learner)
  await joins(tab)
  await record(other)
  await shows(tab, 5)
  assert.equal(await sockets(stage.backend), 2)
  for (const page of [...pages, tab]) assert.deepEqual(page.problems, [])
})

test('lost messages come with the next one, and with the next join', async (t) => {
  const { pages } = await openBoth(t)
  const [one, other] = pages
  await stage.fault({ kind: 'offline', path: '/realtime/v1/message' })
  await record(one)
  await waitUntilSent(one)
  // To both devices.
  await waitFor('the messages to be lost', stage.faultsFired, (fired) => fired >= 2)
  assert.equal((await progress(other)).total_sessions, 0)
  await stage.clearFaults()
  await record(one)
  await shows(other, 2)
  await stage.fault({ kind: 'offline', path: '/realtime/v1/message' })
  await record(one)
  await waitFor('the messages to be lost', stage.faultsFired, (fired) => fired >= 2)
  await stage.clearFaults()
  await sockets(stage.backend, { cut: true })
  await shows(other, 3)
  for (const page of pages) await joins(page)
})

test('without a network there is no socket, and with one there is', async (t) => {
  const { pages } = await openBoth(t)
  const [one, other] = pages
  await devices[1].context.setOffline(true)
  await joins(other, 'joining')
  await record(one)
  await waitUntilSent(one)
  await devices[1].context.setOffline(false)
  await shows(other, 1)
  await joins(other)
  // The app's own wish, and an app that wants none.
  await other.evaluate(() => window.marea.setOnline(false))
  await joins(other, 'joining')
  await other.evaluate(() => window.marea.setOnline(true))
  await joins(other)
  const quiet = await open(t, devices[0], await stage.signUp(), { wakeups: false })
  await waitUntilSent(quiet)
  assert.equal((await status(quiet)).wakeups, 'off')
})

test('half of the messages lost, nothing is', async (t) => {
  const { pages } = await openBoth(t)
  const [one, other] = pages
  await stage.fault({ kind: 'offline', path: '/realtime/v1/message', every: 2 })
  for (let sessions = 1; sessions <= 20; sessions++) await record(sessions % 2 ? one : other)
  await Promise.all(pages.map(waitUntilSent))
  await stage.clearFaults()
  await sockets(stage.backend, { cut: true })
  await Promise.all(pages.map((page) => shows(page, 20)))
})

test('a tab that is opened while all others are hidden has them opened again, and pulls', async (t) => {
  const learner = await stage.signUp()
  const other = await open(t, devices[1], learner)
  // Led in the page, whose clock can be put forward.
  const hidden = await devices[0].newPage(t)
  await hidden.clock.install()
  await openMarea(hidden, stage, learner, { storage: 'memory' })
  await joins(hidden)
  await hidden.evaluate(() => {
    Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })
    document.dispatchEvent(new Event('visibilitychange'))
  })
  const later = async () => {
    await hidden.clock.fastForward(MINUTE_MS / 4)
    return status(hidden)
  }
  await waitFor('the socket to be closed', later, ({ wakeups }) => wakeups === 'off')
  await joins(other)
  await record(other)
  await waitUntilSent(other)
  const tab = await open(t, devices[0], learner, { storage: 'memory' })
  assert.equal(await tab.evaluate(() => window.marea.leads), false)
  await shows(tab, 1)
  await joins(tab)
  await record(other)
  await shows(tab, 2)
})
