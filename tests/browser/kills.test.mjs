// Two tabs write while the browser, or one tab's renderer, is killed at random moments: every session whose promise was
// resolved is in Postgres, once.
//
// MAREA_KILLS says how often, MAREA_SEED which moments; `MAREA_KILLS=100` is what a release has to stand.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { inPostgres, openMarea, progress, startBrowser, startStage, waitFor, waitUntilSent } from './harness.mjs'
import { leadingPage, takeOver } from './tabs.mjs'

const KILLS = Number(process.env.MAREA_KILLS ?? 5)
const SEED = Number(process.env.MAREA_SEED ?? Date.now() % 1_000_000)

let stage, browser
before(async () => {
  stage = await startStage()
  browser = await startBrowser(stage, { plain: true })
})

/** Mulberry32: small, seeded, good enough to choose moments. */
function randomFrom(seed) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

test(`${KILLS} kills while two tabs write`, async (t) => {
  t.diagnostic(`MAREA_SEED=${SEED}`)
  const random = randomFrom(SEED)
  const learner = await stage.signUp()
  // What was resolved is told to this process at once: the page will not live to tell it later.
  const resolved = new Set()
  const openTab = async () => {
    const page = await browser.newPage(t)
    await page.exposeFunction('resolved', (id) => void resolved.add(id))
    await openMarea(page, stage, learner)
    await page.evaluate(() => {
      window.stopWriting = false
      window.writing = (async () => {
        while (!window.stopWriting) {
          const { id } = await window.marea.recordSession({ session_type: 'qa', duration_minutes: 1 })
          await window.resolved(id)
        }
      })()
    })
    return page
  }
  let tabs = [await openTab(), await openTab()]
  const kinds = { browser: 0, leader: 0, follower: 0 }
  for (let kill = 0; kill < KILLS; kill++) {
    // A moment is so many writes later: no clock decides what is tried.
    const goal = resolved.size + 1 + Math.floor(random() * 25)
    await waitFor('writes to go on', () => resolved.size, (size) => size >= goal)
    const kind = ['browser', 'leader', 'follower'][Math.floor(random() * 3)]
    kinds[kind]++
    if (kind === 'browser') {
      await browser.kill()
      await browser.start()
      tabs = [await openTab(), await openTab()]
      continue
    }
    const leader = await waitFor('a leader', () => leadingPage(tabs), (page) => page !== null)
    const victim = kind === 'leader' ? leader : tabs.find((page) => page !== leader)
    await takeOver.killed(browser, victim)
    tabs = [tabs.find((page) => page !== victim), await openTab()]
    await victim.close()
  }
  for (const page of tabs) {
    await page.evaluate(() => {
      window.stopWriting = true
      return window.writing
    })
  }
  await waitUntilSent(tabs[0])
  const there = await inPostgres(stage, learner)
  const arrived = new Set(there.ids)
  const lost = [...resolved].filter((id) => !arrived.has(id))
  assert.deepEqual(lost, [])
  assert.equal(there.total, arrived.size, 'each counts once')
  for (const page of tabs) assert.equal((await progress(page)).total_sessions, arrived.size)
  t.diagnostic(`${JSON.stringify(kinds)}; ${resolved.size} resolved, ${arrived.size} arrived, none lost, none twice`)
})
