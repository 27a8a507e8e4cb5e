// Half of all messages are dropped on their way to the devices, and no change is missed: what one device records and what jobs of the
// server write comes with a later message, the next join, or the next look. node lost.mjs [writes]; fails when one is missing.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { sockets } from '../browser/backend.mjs'
import { openMarea, startBrowser, startStage, status, waitFor, waitUntilSent } from '../browser/harness.mjs'

const writes = Number(process.argv.find((word) => /^\d+$/.test(word)) ?? process.env.MAREA_WRITES ?? 2_000)

test(`${writes} writes, with half of the messages dropped`, { timeout: 60 * 60_000 }, async (t) => {
  const stage = await startStage({}, { wakeups: true })
  const learner = await stage.signUp()
  const pages = []
  for (const device of [await startBrowser(stage), await startBrowser(stage)]) {
    const page = await device.newPage(t)
    await openMarea(page, stage, learner)
    await waitFor('a join', () => status(page), ({ wakeups }) => wakeups === 'joined')
    await page.evaluate(() => window.marea.watchProgress((progress) => (window.shown = progress.total_sessions)))
    pages.push(page)
  }
  const [one, other] = pages
  await stage.fault({ kind: 'offline', path: '/realtime/v1/message', every: 2 })
  // Every other one is a job's, and a message of its own; those of a device share a request a second.
  const began = Date.now()
  for (let count = 0; count < writes; count++) {
    if (count % 2) await one.evaluate(() => window.marea.recordSession({ session_type: 'qa', duration_minutes: 1 }))
    else await stage.database.query('INSERT INTO public.sessions (id, user_id, ended_at) VALUES ($1, $2, now())', [randomUUID(), learner.id])
  }
  await waitUntilSent(one)
  const seconds = (Date.now() - began) / 1_000
  const dropped = await stage.faultsFired()
  const shownBefore = await other.evaluate(() => window.shown)
  await stage.clearFaults()
  // The next join. (Without one, a joined device looks every half an hour by itself; the worlds of tests/worlds/src/wakeups/ wait for that.)
  await sockets(stage.backend, { cut: true })
  for (const page of pages) {
    await waitFor('everything', () => page.evaluate(() => window.shown), (shown) => shown === writes)
  }
  const { rows } = await stage.database.query('SELECT count(*)::int AS sessions FROM public.sessions WHERE user_id = $1', [learner.id])
  assert.equal(rows[0].sessions, writes)
  console.log(JSON.stringify({ writes, seconds, messages_dropped: dropped, missing_before_the_join: writes - shownBefore, missing_after: 0 }))
})
