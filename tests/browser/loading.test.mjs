// How the package comes over a slow line: few files, a limit on silence and not on bytes, and no byte twice. The page's clock is
// the test's, so that no time passes.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import { progress, startBrowser, untilReady, waitFor } from './harness.mjs'
import { serveSlowly } from './slow.mjs'

const SECONDS = 1_000

let browser
before(async () => {
  browser = await startBrowser({ pageUrl: 'about:blank' }, { plain: true })
})

/** A page whose clock stands still until the test moves it, and that has begun to open a mirror. */
async function beginOpening(t, server) {
  const page = await browser.context.newPage()
  t.after(() => page.close())
  await page.goto(server.url)
  await untilReady(page)
  await page.clock.install()
  await open(page)
  await waitFor('the module to be asked for', () => server.moduleAsked, (asked) => asked > 0)
  return page
}

const open = (page) =>
  page.evaluate((userId) => {
    window.heard = []
    window.opened = null
    const onLoading = (loading) => window.heard.push(loading)
    const options = { url: 'http://127.0.0.1:9', anonKey: 'anon', userId, online: false, onLoading }
    window.failureOf(() => window.openMarea(options)).then((failure) => (window.opened = failure ?? 'open'))
  }, randomUUID())

const loaded = (page) => page.evaluate(() => window.heard.at(-1)?.loaded ?? 0)
const opened = (page) => page.evaluate(() => window.opened)

test('an opening lasts as long as bytes come, and says how many have', async (t) => {
  const server = await serveSlowly({ held: true })
  const page = await beginOpening(t, server)
  const piece = Math.ceil(server.moduleBytes / 8)
  for (let sent = piece; sent < server.moduleBytes; sent += piece) {
    server.send(piece)
    await waitFor('the piece', () => loaded(page), (bytes) => bytes >= sent)
    await page.clock.fastForward(10 * SECONDS)
  }
  assert.equal(await opened(page), null, 'more than a minute has passed')
  server.send()
  assert.equal(await waitFor('the mirror', () => opened(page), (state) => state !== null), 'open')
  assert.equal((await progress(page)).total_sessions, 0)
  const heard = await page.evaluate(() => window.heard)
  assert.deepEqual(heard.at(-1), { loaded: server.moduleBytes, total: server.moduleBytes })
  assert.ok(heard.every(({ total }) => total === server.moduleBytes))
})

test('silence is called by its name, and the next try goes on with what has come', async (t) => {
  const server = await serveSlowly({ held: true })
  const page = await beginOpening(t, server)
  server.send(100_000)
  await waitFor('the piece', () => loaded(page), (bytes) => bytes >= 100_000)
  await page.clock.fastForward(14 * SECONDS)
  const failure = await waitFor('the failure', () => opened(page), (state) => state !== null)
  assert.deepEqual([failure.name, failure.code, failure.retry], ['MareaError', 'worker_failed', true])
  assert.match(failure.message, /100000 of \d+ bytes/)
  assert.equal(page.workers().length, 0, 'its worker is ended')

  await open(page)
  server.send()
  assert.equal(await waitFor('the mirror', () => opened(page), (state) => state !== null), 'open')
  assert.equal(server.moduleAsked, 1)
})

// Its waits were measured by the time of day.
test('a clock that is set forward while the module comes is no silence', async (t) => {
  const server = await serveSlowly({ held: true })
  const page = await beginOpening(t, server)
  server.send(100_000)
  await waitFor('the piece', () => loaded(page), (bytes) => bytes >= 100_000)
  await page.clock.setSystemTime(new Date(Date.now() + 3_600 * SECONDS))
  await page.clock.runFor(2 * SECONDS)
  server.send()
  assert.equal(await waitFor('the mirror', () => opened(page), (state) => state !== null), 'open')
  assert.equal(server.moduleAsked, 1)
})

test('a module that was had once is not asked for again', async (t) => {
  const server = await serveSlowly({ held: true })
  const page = await beginOpening(t, server)
  server.send()
  assert.equal(await waitFor('the mirror', () => opened(page), (state) => state !== null), 'open')
  await page.evaluate(() => window.marea.close())
  await open(page)
  assert.equal(await waitFor('the mirror', () => opened(page), (state) => state !== null), 'open')
  assert.equal(server.moduleAsked, 1)
})

test('an app that is not bundled asks for the page, the worker and the module', async (t) => {
  const server = await serveSlowly()
  const page = await browser.context.newPage()
  t.after(() => page.close())
  await page.goto(server.url)
  await untilReady(page)
  await open(page)
  assert.equal(await waitFor('the mirror', () => opened(page), (state) => state !== null), 'open')
  const asked = server.asked.filter((path) => path.startsWith('/marea/'))
  assert.deepEqual(asked.toSorted(), ['/marea/index.js', '/marea/marea_wasm_bg.wasm', '/marea/worker.js'])
})
