// Where the browser gives no file system: the mirror in the page, its image in localStorage, and the same promises.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import { INSECURE_HOST, openMarea, progress, record, servePage, startBrowser, status, untilReady, waitFor } from './harness.mjs'
import { leadingPage, takeOver } from './tabs.mjs'

const NOWHERE = { url: 'http://127.0.0.1:9', anon_key: 'anon' }

let stage, browser
before(async () => {
  stage = { backend: NOWHERE, ...(await servePage()) }
  browser = await startBrowser(stage, { plain: true })
})

const newLearner = () => ({ id: randomUUID(), token: null })
const totalOf = async (page) => (await progress(page)).total_sessions

// An address that is no secure context: neither a file system nor Web Locks are to be had there.
const insecure = () => ({ ...stage, pageUrl: stage.pageUrl.replace('127.0.0.1', INSECURE_HOST) })

async function newInsecurePage(t) {
  const page = await browser.newPage(t)
  await goInsecure(page)
  return page
}

async function goInsecure(page) {
  await page.goto(insecure().pageUrl)
  await untilReady(page)
  assert.equal(await page.evaluate(() => isSecureContext || navigator.locks !== undefined), false)
}

test('without a file system the mirror is kept in localStorage, and is there again after a reload', async (t) => {
  const learner = newLearner()
  const page = await newInsecurePage(t)
  await openMarea(page, stage, learner)
  assert.equal((await status(page)).storage, 'local-storage')
  const { id } = await record(page)
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
  await goInsecure(page)
  await openMarea(page, stage, learner)
  assert.equal(await totalOf(page), 1)
  assert.equal((await status(page)).pending, 1)
  assert.deepEqual(page.problems, [])
})

test('two tabs without a file system share one mirror, and the second goes on when the first is gone', async (t) => {
  const learner = newLearner()
  const tabs = [await newInsecurePage(t), await newInsecurePage(t)]
  await Promise.all(tabs.map((page) => openMarea(page, stage, learner)))
  await Promise.all(tabs.map((page) => record(page)))
  assert.deepEqual(await Promise.all(tabs.map(totalOf)), [2, 2])
  // Both were opened at once: the lead may still pass from one to the other.
  const leader = await waitFor('a leader', () => leadingPage(tabs), (page) => page !== null)
  const other = tabs.find((page) => page !== leader)
  await takeOver.frozen(browser, leader)
  const { pending } = await record(other)
  assert.equal(pending, 3)
  assert.equal(await totalOf(other), 3)
})

test('a tab makes way for one with a greater name that asks for the lead while it waits for an answer', async (t) => {
  const learner = newLearner()
  const [other, page] = [await newInsecurePage(t), await newInsecurePage(t)]
  await other.evaluate((userId) => {
    window.asked = 0
    const channel = new BroadcastChannel(`marea:${userId}:lease`)
    channel.onmessage = ({ data }) => {
      if (data.kind === 'who-leads' && ++window.asked === 1) channel.postMessage({ kind: 'who-leads', name: '~' })
    }
  }, learner.id)
  await openMarea(page, stage, learner)
  assert.equal(await other.evaluate(() => window.asked), 2, 'it has asked again before it led')
})

test('a tab that leads knows it again after it has followed another that is gone', async (t) => {
  const learner = newLearner()
  const page = await newInsecurePage(t)
  await openMarea(page, stage, learner)
  await record(page)
  assert.ok(await leadingPage([page]))
  // Two that come to lead at once hear of each other.
  await page.evaluate(async (userId) => {
    const meeting = `marea:${userId}`
    const news = new BroadcastChannel(`${meeting}:news`)
    const followed = new Promise((resolve) => {
      new BroadcastChannel(`${meeting}:leader`).onmessage = ({ data }) => data.kind === 'hello' && resolve()
    })
    news.postMessage({ kind: 'leading', term: 'another', version: { protocol: 1, mirror: 99, calls: 99 }, online: true })
    await followed
  }, learner.id)
  await waitFor('it to lead again', () => leadingPage([page]), (found) => found !== null)
  assert.equal((await record(page)).pending, 2)
})

test('a leader that another has displaced writes nothing over it, and its writes are done by who leads next', async (t) => {
  const learner = newLearner()
  const page = await newInsecurePage(t)
  await openMarea(page, stage, learner)
  await record(page)
  const image = () => page.evaluate((id) => localStorage.getItem(`marea:${id}:image`), learner.id)
  const before = await image()
  const after = await page.evaluate(async (id) => {
    localStorage.setItem(`marea:${id}:owner`, '"another"')
    const writing = window.marea.recordSession({ session_type: 'qa' })
    await new Promise((resolve) => setTimeout(resolve))
    const image = localStorage.getItem(`marea:${id}:image`)
    await writing
    return image
  }, learner.id)
  assert.ok(after === before, 'the image of the other one was written over')
  assert.equal(await totalOf(page), 2)
})

// It took its own missing name for another owner's, left, and began with an empty mirror.
test('an app that clears localStorage takes nothing from the mirror that is open', async (t) => {
  const learner = newLearner()
  const page = await newInsecurePage(t)
  await openMarea(page, stage, learner)
  for (let made = 0; made < 5; made++) await record(page)
  // What this page has made itself, it could ask of an empty mirror again.
  await goInsecure(page)
  await openMarea(page, stage, learner)
  await page.evaluate(() => localStorage.clear())
  assert.equal((await record(page)).pending, 6)
  await record(page)
  await goInsecure(page)
  await openMarea(page, stage, learner)
  assert.deepEqual([await totalOf(page), (await status(page)).pending], [7, 7])
  assert.deepEqual(page.problems, [])
})

test('a write for which localStorage has no room is refused whole', async (t) => {
  const learner = newLearner()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { storage: 'local-storage', online: false })
  await record(page)
  const { failure, kept } = await page.evaluate(async () => {
    // The app's own data takes nearly all of it.
    let size = 4_000_000
    for (let part = 0; size > 1_000; ) {
      try {
        localStorage.setItem(`app-${part}`, 'x'.repeat(size))
        part++
      } catch {
        size = Math.floor(size / 2)
      }
    }
    let failure = null
    let kept = 1
    while (!failure && kept < 200) {
      const note = { note: 'x'.repeat(20_000) }
      failure = await window.failureOf(() => window.marea.recordSession({ session_type: 'qa', session_data: note }))
      if (!failure) kept++
    }
    return { failure, kept }
  })
  assert.deepEqual([failure?.name, failure?.code, failure?.retry], ['MareaError', 'storage_full', true])
  assert.equal(await totalOf(page), kept)
  await page.evaluate(() => {
    for (const key of Object.keys(localStorage)) if (key.startsWith('app-')) localStorage.removeItem(key)
  })
  await record(page)
  assert.equal(await totalOf(page), kept + 1)
})

test('where nothing at all can be kept, the status says so', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, newLearner(), { storage: 'memory' })
  assert.equal((await status(page)).storage, 'memory')
  await record(page)
  assert.equal(await totalOf(page), 1)
})

test('a device that has a mirror on the file system is never given an empty one elsewhere', async (t) => {
  const learner = newLearner()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  await record(page)
  await page.evaluate(() => window.marea.close())
  const refused = await page.evaluate(
    (options) => {
      const { getDirectory } = StorageManager.prototype
      delete StorageManager.prototype.getDirectory
      return window.failureOf(() => window.openMarea(options)).finally(() => {
        StorageManager.prototype.getDirectory = getDirectory
      })
    },
    { url: NOWHERE.url, anonKey: NOWHERE.anon_key, userId: learner.id },
  )
  assert.deepEqual([refused?.code, refused?.retry], ['storage_unavailable', true])
  await openMarea(page, stage, learner)
  assert.equal(await totalOf(page), 1)
})

/** A mirror in localStorage with one session, closed. */
async function keptAndClosed(t) {
  const learner = newLearner()
  const page = await browser.newPage(t)
  // A damaged image is kept beside the new one, and what the tests before have left takes most of the room.
  await page.evaluate(() => localStorage.clear())
  await openMarea(page, stage, learner, { storage: 'local-storage' })
  await record(page)
  // Once more, so that the image has what its log had.
  for (let time = 0; time < 2; time++) {
    await page.evaluate(() => window.marea.close())
    if (time === 0) await openMarea(page, stage, learner, { storage: 'local-storage' })
  }
  return { learner, page }
}

test('a damaged image is set aside, and told', async (t) => {
  const { learner, page } = await keptAndClosed(t)
  const key = `marea:${learner.id}:image`
  await page.evaluate((key) => localStorage.setItem(key, `"${btoa('x'.repeat(4096))}"`), key)
  await openMarea(page, stage, learner, { storage: 'local-storage' })
  assert.equal((await status(page)).recovery, 'set-aside')
  const kept = await page.evaluate(() => Object.keys(localStorage).filter((key) => key.includes(':damaged-')).length)
  assert.equal(kept, 1)
  await waitFor('the new image', () => page.evaluate((key) => localStorage.getItem(key)?.length ?? 0, key), (size) => size > 0)
})

/** Damages the head of a kept image, and leaves it under this key. */
function damage(page, learner, aside = '') {
  return page.evaluate(
    ([key, aside]) => {
      const image = atob(JSON.parse(localStorage.getItem(key)))
      localStorage.removeItem(key)
      localStorage.setItem(key + aside, JSON.stringify(btoa('x'.repeat(16) + image.slice(16))))
    },
    [`marea:${learner.id}:image`, aside],
  )
}

test('what a damaged image had not sent is in the new one', async (t) => {
  const { learner, page } = await keptAndClosed(t)
  await damage(page, learner)
  await openMarea(page, stage, learner, { storage: 'local-storage' })
  const told = await status(page)
  assert.deepEqual([told.recovery, told.pending, await totalOf(page)], ['set-aside', 1, 1])
})

test('a tab that died over a damaged image keeps nothing from the next one, which restores it once', async (t) => {
  const { learner, page } = await keptAndClosed(t)
  await damage(page, learner, `:damaged-${Date.now()}`)
  await openMarea(page, stage, learner, { storage: 'local-storage' })
  const told = await status(page)
  assert.deepEqual([told.recovery, told.pending, await totalOf(page)], ['set-aside', 1, 1])
  await page.evaluate(() => window.marea.close())
  await openMarea(page, stage, learner, { storage: 'local-storage' })
  assert.deepEqual([(await status(page)).recovery ?? null, await totalOf(page)], [null, 1])
})
