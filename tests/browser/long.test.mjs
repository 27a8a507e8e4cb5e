// Much at once: a week without a network, and the first sync of a learner with a long history.

import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { inPostgres, load, openMarea, progress, startBrowser, startStage, status, waitFor, waitUntilSent } from './harness.mjs'
import { nextMirror } from './later.mjs'
import { openTabs } from './tabs.mjs'

const DAY_MS = 86_400_000
const PER_DAY = 286
const ROWS = 50_000

const made = []
after(() => made.forEach((folder) => rmSync(folder, { recursive: true, force: true })))

let stage, browser
before(async () => {
  stage = await startStage({ '/next-mirror/': await nextMirror(made) })
  browser = await startBrowser(stage)
})

test('three tabs that write 300 sessions each at once make 900 in Postgres, and no read waits long', async (t) => {
  const learner = await stage.signUp()
  const tabs = await openTabs(t, browser, stage, learner, 3)
  const write = async () => {
    let slowest = 0
    let writing = true
    const reading = (async () => {
      while (writing) {
        const start = performance.now()
        await window.marea.progress()
        slowest = Math.max(slowest, performance.now() - start)
      }
    })()
    const all = Array.from({ length: 300 }, () => window.marea.recordSession({ session_type: 'qa' }))
    const ids = (await Promise.all(all)).map((recorded) => recorded.id)
    writing = false
    await reading
    return { ids, slowest }
  }
  const seen = await Promise.all(tabs.map((tab) => tab.evaluate(write)))
  await waitUntilSent(tabs[0])
  const there = await inPostgres(stage, learner)
  assert.deepEqual(there.ids, seen.flatMap(({ ids }) => ids).sort())
  assert.equal(there.total, 900)
  for (const tab of tabs) assert.equal((await progress(tab)).total_sessions, 900)
  t.diagnostic(`the slowest read beside the writes: ${Math.max(...seen.map(({ slowest }) => slowest)).toFixed(0)} ms`)
})

test('a week without a network: 2,002 sessions, a reload and another tab each day, an upgrade of the app, then all of them arrive', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await browser.context.setOffline(false)
  await stage.fault({ kind: 'offline' })
  const ids = []
  const today = Date.now()
  for (let day = 6; day >= 0; day--) {
    // The upgrade comes in the middle: in the evening's tab first, and from the next day on in both.
    await load(page, stage, day < 3 ? 'next-mirror' : 'marea')
    await openMarea(page, stage, learner)
    const evening = await browser.newPage(t)
    if (day <= 3) await load(evening, stage, 'next-mirror')
    await openMarea(evening, stage, learner)
    const endedAt = today - day * DAY_MS
    const record = async ([endedAt, count]) => {
      const all = Array.from({ length: count }, (_, made) =>
        window.marea.recordSession({
          session_type: 'qa',
          duration_minutes: 3,
          qa_attempts: 2,
          qa_correct: 1,
          ended_at: new Date(endedAt - made * 1_000).toISOString(),
          local_date: new Date(endedAt).toISOString().slice(0, 10),
        }),
      )
      return (await Promise.all(all)).map((recorded) => recorded.id)
    }
    ids.push(...(await page.evaluate(record, [endedAt, PER_DAY / 2])))
    ids.push(...(await evening.evaluate(record, [endedAt, PER_DAY / 2])))
    await evening.close()
  }
  assert.equal((await progress(page)).total_sessions, 7 * PER_DAY)
  assert.equal((await status(page)).pending, 7 * PER_DAY)
  await stage.clearFaults()
  await page.evaluate(() => window.marea.sync())
  await waitUntilSent(page)
  const there = await inPostgres(stage, learner)
  assert.deepEqual(there.ids, ids.sort())
  assert.equal(there.total, 7 * PER_DAY)
  const seen = await progress(page)
  assert.deepEqual([seen.total_sessions, seen.longest_streak_days, seen.average_accuracy], [7 * PER_DAY, 7, 50])
})

test('the first sync of 50,000 rows leaves the page free to answer', async (t) => {
  const learner = await stage.signUp()
  await stage.database.query(
    `INSERT INTO public.export_history (id, user_id, export_type, export_format, status)
     SELECT gen_random_uuid(), $1, 'progress', 'csv', 'completed' FROM generate_series(1, ${ROWS})`,
    [learner.id],
  )
  // As in a database that has grown to this and not been filled in one go.
  await stage.database.query('ANALYZE')
  const page = await browser.newPage(t)
  await page.evaluate(() => {
    window.longest = 0
    new PerformanceObserver((list) => {
      for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration)
    }).observe({ type: 'longtask', buffered: true })
    window.reads = []
  })
  await openMarea(page, stage, learner)
  const start = Date.now()
  await page.evaluate(() => {
    window.longest = 0
    // An app that shows things while they arrive.
    window.marea.watchStatus(() => undefined)
    window.marea.watchExports({ limit: 50 }, (seen) => (window.shown = seen.exports.length))
    window.marea.watchProgress(() => undefined)
  })
  const synced = (seen) => seen.last_synced_at && !seen.syncing
  await waitFor('the first sync', () => status(page), synced, 120_000)
  const took = Date.now() - start
  const longest = await page.evaluate(() => window.longest)
  const count = await page.evaluate(async () => {
    let count = 0
    for (let after; ; ) {
      const { exports, next } = await window.marea.exports({ limit: 500, ...(after && { after }) })
      count += exports.length
      if (!next) return count
      after = next
    }
  })
  assert.equal(count, ROWS)
  assert.equal(await page.evaluate(() => window.shown), 50)
  // A task of the engine's on this thread would be of seconds; how long a small one takes is the machine's affair.
  assert.ok(longest < 500, `a task of ${longest} ms on the main thread`)
  t.diagnostic(`${ROWS} rows in ${took} ms; the longest task on the main thread: ${longest.toFixed(0)} ms (0: none of 50 or more)`)
})
