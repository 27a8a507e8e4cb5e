// From `recordSession` on one device to `watchProgress` on another one, each a Chromium of its own: node run.mjs [writes] [--json].
// The writes come as a learner's do, each some time after the one before is seen; two within a second share a request.

import { test } from 'node:test'
import { openMarea, startBrowser, startStage, status, waitFor } from '../browser/harness.mjs'

const writes = Number(process.argv.find((word) => /^\d+$/.test(word)) ?? process.env.MAREA_WRITES ?? 500)
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

test('from one device to the other', { timeout: 60 * 60_000 }, async (t) => {
  const stage = await startStage({}, { wakeups: true })
  const learner = await stage.signUp()
  const pages = []
  for (const device of [await startBrowser(stage), await startBrowser(stage)]) {
    const page = await device.newPage(t)
    await openMarea(page, stage, learner)
    await waitFor('a join', () => status(page), ({ wakeups }) => wakeups === 'joined')
    pages.push(page)
  }
  const [one, other] = pages
  await other.evaluate(() => {
    window.seen = new Map()
    return window.marea.watchProgress(({ total_sessions }) => window.seen.set(total_sessions, Date.now()))
  })
  const times = []
  for (let count = 1; count <= writes; count++) {
    await pause(1_050 + ((count * 137) % 400))
    const began = await one.evaluate(async () => {
      const now = Date.now()
      await window.marea.recordSession({ session_type: 'qa', duration_minutes: 1 })
      return now
    })
    const at = await waitFor('the other device', () => other.evaluate((count) => window.seen.get(count), count), (at) => at > 0)
    times.push(at - began)
  }
  const slowest = times.map((ms, index) => ({ write: index + 1, ms })).sort((a, b) => b.ms - a.ms).slice(0, 5)
  times.sort((a, b) => a - b)
  const share = (percent) => times[Math.min(times.length - 1, Math.floor((times.length * percent) / 100))]
  console.log(JSON.stringify({ writes, p50_ms: share(50), p99_ms: share(99), most_ms: times.at(-1), slowest }))
})
