// What is written down while a page is being left: its answer comes too late for it, and the next start takes it up, once.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import { assertArrived, load, openMarea, progress, startBrowser, startStage, status, waitFor, waitUntilSent } from './harness.mjs'
import { openTabs } from './tabs.mjs'

let stage, browser
before(async () => {
  stage = await startStage()
  browser = await startBrowser(stage, { plain: true })
})

const totalOf = async (page) => (await progress(page)).total_sessions
const noted = (page) => page.evaluate(() => Object.keys(localStorage).filter((key) => key.includes(':unanswered:')).length)

/** The moments, each with how the page says that it has come. */
const moments = {
  pagehide: () => window.addEventListener('pagehide', () => void window.record()),
  'visibilitychange to hidden': () =>
    document.addEventListener('visibilitychange', () => document.visibilityState === 'hidden' && void window.record()),
  beforeunload: () => window.addEventListener('beforeunload', () => void window.record()),
  unload: () => window.addEventListener('unload', () => void window.record()),
}

/** The ways in which a page is left. */
const ways = {
  'another page': (page) => page.goto('about:blank'),
  'a reload': (page) => page.reload(),
  'a close': (page) => page.close({ runBeforeUnload: true }),
}

// A browser that is in a hurry ends a page without a word, and nobody can note anything: then that way is gone once more.
const ATTEMPTS = 10

/** The sessions of pages whose moment came. */
const called = (page) =>
  page.evaluate(() => Object.keys(localStorage).flatMap((key) => (key.startsWith('called:') ? [key.slice(7)] : [])))

/** The sessions that wait for a network, as often as each does. */
const recorded = (page) => page.evaluate(async () => (await window.marea.pending()).map(({ id }) => id))

for (const storage of ['opfs', 'local-storage']) {
  for (const [moment, listen] of Object.entries(moments)) {
    test(`what is recorded at ${moment} is there at the next start, once (${storage})`, async (t) => {
      const learner = await stage.signUp()
      const options = { storage, online: false }
      const left = []
      // What a page leaves in its last moment may reach the next one's process a moment after that has opened the mirror.
      const allThere = (page, when) =>
        waitFor(
          `what was called before ${when}`,
          async () => [await recorded(page), await called(page)],
          ([there, ids]) => ids.every((id) => there.includes(id)),
        )
      const goAway = async (way, leave) => {
        const page = await browser.newPage(t)
        const id = randomUUID()
        await openMarea(page, stage, learner, options)
        await allThere(page, way)
        left.push(id)
        await page.evaluate(
          ([id, listen]) => {
            window.record = () => {
              const recorded = window.marea.recordSession({ id, session_type: 'qa', duration_minutes: 5 }).catch(() => undefined)
              // After the call: a process that is ended in between may have the call alone, but never the mark alone.
              localStorage.setItem(`called:${id}`, '')
              return recorded
            }
            new Function(`return (${listen})()`)()
          },
          [id, String(listen)],
        )
        const closed = way === 'a close' ? page.waitForEvent('close') : null
        await leave(page)
        await closed
        await page.close()
        const after = await browser.newPage(t)
        const ids = await called(after)
        await after.close()
        return ids.includes(id)
      }
      const first = await browser.newPage(t)
      await first.evaluate(() => localStorage.clear())
      await first.close()
      for (const [way, leave] of Object.entries(ways)) {
        let attempts = 1
        while (!(await goAway(way, leave))) assert.ok(attempts++ < ATTEMPTS, `${moment} never comes with ${way}`)
      }
      const page = await browser.newPage(t)
      await openMarea(page, stage, learner, options)
      const [, ids] = await allThere(page, 'the end')
      // Also from a way that seemed not to have come to it: that it has may be known a moment later.
      assert.ok(ids.length >= Object.keys(ways).length, 'each way, and all of it there')
      await waitFor('nothing to be noted', () => noted(page), (count) => count === 0)
      const [there] = await waitFor(
        'each counted once',
        async () => [await recorded(page), await totalOf(page)],
        ([there, total]) => total === there.length && total === new Set(there).size,
      )
      assert.deepEqual(there.filter((id) => !left.includes(id)), [])
      await page.evaluate(() => window.marea.setOnline(true))
      await waitUntilSent(page)
      await assertArrived(stage, learner, there)
    })
  }
}

test('calls that are under way when the page is left are done once', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { online: false })
  const ids = await page.evaluate(() => {
    const ids = Array.from({ length: 50 }, () => crypto.randomUUID())
    for (const id of ids) void window.marea.recordSession({ id, session_type: 'qa' }).catch(() => undefined)
    void window.marea.recordEvent({ id: crypto.randomUUID(), points: 5 }).catch(() => undefined)
    location.href = 'about:blank'
    return ids
  })
  await page.waitForURL('about:blank')
  const next = await browser.newPage(t)
  await openMarea(next, stage, learner, { online: false })
  await waitFor('all of them', () => progress(next), (seen) => seen.total_sessions === 50 && seen.total_points >= 5)
  await next.evaluate(() => window.marea.setOnline(true))
  await waitUntilSent(next)
  await assertArrived(stage, learner, ids)
})

test('a tab that stays takes up what one that is closed has left, with the time of the call', async (t) => {
  const learner = await stage.signUp()
  const [stays, goes] = await openTabs(t, browser, stage, learner, 2, { online: false })
  const id = randomUUID()
  await stays.evaluate(() =>
    window.addEventListener('storage', ({ key, newValue }) => {
      if (key.includes(':unanswered:') && newValue) window.note = JSON.parse(newValue)
    }),
  )
  await goes.evaluate((id) => {
    // What it says to the leader is lost with it.
    BroadcastChannel.prototype.postMessage = () => undefined
    window.addEventListener('pagehide', () => void window.marea.recordSession({ id, session_type: 'qa' }).catch(() => undefined))
  }, id)
  await goes.goto('about:blank')
  await waitFor('it to be taken up', () => totalOf(stays), (total) => total === 1)
  await waitFor('nothing to be noted', () => noted(stays), (count) => count === 0)
  const [taken, ...others] = await stays.evaluate(() => window.marea.pending())
  assert.deepEqual([taken.id, others], [id, []])
  const { ended_at: noted_at } = (await stays.evaluate(() => window.note)).input
  assert.equal(Date.parse(taken.values.ended_at), Date.parse(noted_at))
})

test('a hidden page notes its writes until they are durable, never a key, and erase takes the notes along', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { online: false })
  await page.evaluate(() => {
    Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })
    document.dispatchEvent(new Event('visibilitychange'))
  })
  const [during, after] = await page.evaluate(async () => {
    const texts = () => Object.entries(localStorage).filter(([key]) => key.includes(':unanswered:')).map(([, text]) => text)
    await window.marea.keys.setUp('a good old passphrase')
    const recorded = window.marea.recordSession({ session_type: 'qa' })
    const put = window.marea.keys.put('openai', 'sk-secret')
    const during = texts()
    await Promise.all([recorded, put])
    return [during, texts()]
  })
  assert.equal(during.length, 1)
  assert.match(during[0], /"ended_at":"2/)
  assert.doesNotMatch(during[0], /sk-secret|passphrase/)
  assert.deepEqual(after, [])
  await page.evaluate((id) => localStorage.setItem(`marea:${id}:unanswered:x`, '{}'), learner.id)
  await page.evaluate(() => window.marea.erase())
  assert.equal(await noted(page), 0)
})

test('a write that is done after its page was left stays noted until the page is back', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, await stage.signUp(), { online: false })
  await page.evaluate(async () => {
    window.dispatchEvent(new PageTransitionEvent('pagehide'))
    await window.marea.recordSession({ session_type: 'qa' })
  })
  assert.equal(await noted(page), 1)
  await page.evaluate(() => window.dispatchEvent(new PageTransitionEvent('pageshow')))
  assert.equal(await noted(page), 0)
  assert.equal(await totalOf(page), 1)
})

test('a note that cannot be read, or is refused, is in nobody\'s way', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await page.evaluate((id) => {
    localStorage.setItem(`marea:${id}:unanswered:one`, 'no json')
    localStorage.setItem(`marea:${id}:unanswered:two`, '{"kind":"record_session","id":"two","input":{}}')
  }, learner.id)
  await openMarea(page, stage, learner, { online: false })
  await waitFor('nothing to be noted', () => noted(page), (count) => count === 0)
  assert.equal((await status(page)).pending, 0)
  assert.deepEqual(page.problems, [])
  await load(page, stage)
})
