// How quickly the page is there: `node demo/tools/speed.mjs` measures what Lighthouse would, with Chromium's own clocks.
//
// A phone on a slow line (1.6 Mbit/s, 150 ms, a quarter of this machine's speed) and this machine as it is; the entrance from an
// empty browser, the app of a learner whose page is kept by the service worker. Needs a backend: MAREA_BACKEND, its JSON line.

import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { serve } from '../serve.mjs'
import { makeProfile, startChromium } from './chromium.mjs'
import { signUp } from './page.mjs'

const PHONE = { latency: 150, downloadThroughput: (1.6 * 1024 * 1024) / 8, uploadThroughput: (750 * 1024) / 8, offline: false }
const FAST = { latency: 0, downloadThroughput: -1, uploadThroughput: -1, offline: false }

/** Collected from the first moment of the page on. */
function collect() {
  window.seen = { tasks: [], shift: 0, largest: 0 }
  const observe = (type, each) => new PerformanceObserver((list) => list.getEntries().forEach(each)).observe({ type, buffered: true })
  observe('longtask', ({ duration }) => window.seen.tasks.push(duration))
  observe('layout-shift', ({ value, hadRecentInput }) => hadRecentInput || (window.seen.shift += value))
  observe('largest-contentful-paint', ({ startTime }) => (window.seen.largest = startTime))
}

async function measure(context, url, { phone, ready }) {
  const page = await context.newPage()
  const devtools = await context.newCDPSession(page)
  await devtools.send('Network.enable')
  await devtools.send('Network.emulateNetworkConditions', phone ? PHONE : FAST)
  await devtools.send('Emulation.setCPUThrottlingRate', { rate: phone ? 4 : 1 })
  let transferred = 0
  devtools.on('Network.loadingFinished', ({ encodedDataLength }) => (transferred += encodedDataLength))
  await page.addInitScript(collect)
  await page.setViewportSize(phone ? { width: 360, height: 740 } : { width: 1280, height: 860 })
  await page.goto(url)
  await page.getByTestId(ready).waitFor()
  const readyMs = await page.evaluate(() => performance.now())
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => new Promise((resolve) => requestIdleCallback(resolve))))
  const seen = await page.evaluate(() => ({
    ...window.seen,
    painted: performance.getEntriesByName('first-contentful-paint')[0]?.startTime,
  }))
  await page.close()
  return {
    first_contentful_paint_ms: Math.round(seen.painted),
    largest_contentful_paint_ms: Math.round(seen.largest),
    ready_ms: Math.round(readyMs),
    layout_shift: Number(seen.shift.toFixed(3)),
    blocked_ms: Math.round(seen.tasks.reduce((sum, duration) => sum + Math.max(0, duration - 50), 0)),
    longest_task_ms: Math.round(Math.max(0, ...seen.tasks)),
    transferred_kb: Math.round(transferred / 1024),
  }
}

const backend = JSON.parse(process.env.MAREA_BACKEND ?? 'null')
if (!backend) throw new Error('MAREA_BACKEND is not set: start `marea-backend --sql demo/tables.sql`, and give its JSON line.')
const server = await serve({ mounts: { '/': fileURLToPath(new URL('../dist', import.meta.url)) }, config: backend })
try {
  for (const phone of [true, false]) {
    // Each with an empty browser first.
    const profile = makeProfile()
    const browser = await startChromium(profile)
    try {
      const { context } = browser
      console.log(JSON.stringify({ device: phone ? 'phone' : 'this machine', page: 'entrance, empty browser', ...(await measure(context, server.url, { phone, ready: 'email' })) }))
      const page = await context.newPage()
      await page.goto(server.url)
      await signUp(page, { email: `${randomUUID()}@example.com`, password: randomUUID() })
      await page.close()
      console.log(JSON.stringify({ device: phone ? 'phone' : 'this machine', page: 'today, second visit', ...(await measure(context, server.url, { phone, ready: 'total-sessions' })) }))
    } finally {
      await browser.stop()
      profile.remove()
    }
  }
} finally {
  await server.stop()
}
