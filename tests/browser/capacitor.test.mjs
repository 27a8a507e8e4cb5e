// The package in an app's WebView, as Capacitor has it, in Chromium's mobile emulation: the page comes from `https://localhost`, out of
// the app and by no server, the API is another origin, the screen is a phone's, and the app is paused and killed without a word.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { extname, join, normalize } from 'node:path'
import { before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { assertArrived, openMarea, progress, record, startBrowser, startStage, status, untilReady, waitFor, waitUntilSent } from './harness.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
// Where Android's WebView finds the app: `server.androidScheme` and `server.hostname`, as they are unless they are set.
const ORIGIN = 'https://localhost'
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm', '.map': 'application/json' }
const PHONE = {
  metrics: { width: 360, height: 780, deviceScaleFactor: 3, mobile: true },
  userAgent: 'Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UD1A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/140.0.0.0 Mobile Safari/537.36',
}

let stage, browser
before(async () => {
  stage = await startStage()
  // To Chromium what no server has sent is from somewhere in the network, and may not call this machine; a phone's server is elsewhere.
  browser = await startBrowser(stage, { flags: ['--disable-features=LocalNetworkAccessChecks,PrivateNetworkAccessSendPreflights'] })
})

/** A file of the app's, as the WebView hands it out: nothing but its bytes and its type. */
function fileAt(path) {
  const name = normalize(path === '/' ? '/index.html' : path)
  const file = name.startsWith('/marea/') ? join(root, 'wasm/dist', name.slice('/marea/'.length)) : join(root, 'tests/browser/page', name)
  return existsSync(file) ? { status: 200, contentType: TYPES[extname(file)], body: readFileSync(file) } : { status: 404, body: '' }
}

async function startApp(t) {
  const page = await browser.context.newPage()
  t.after(() => page.close().catch(() => undefined))
  page.problems = []
  page.on('pageerror', (error) => page.problems.push(error.message))
  const devtools = await browser.context.newCDPSession(page)
  await devtools.send('Emulation.setDeviceMetricsOverride', PHONE.metrics)
  await devtools.send('Emulation.setTouchEmulationEnabled', { enabled: true })
  await devtools.send('Emulation.setUserAgentOverride', { userAgent: PHONE.userAgent })
  await page.route(`${ORIGIN}/**`, (route) => route.fulfill(fileAt(new URL(route.request().url()).pathname)))
  await page.goto(`${ORIGIN}/`)
  await untilReady(page)
  return Object.assign(page, { setState: (state) => devtools.send('Page.setWebLifecycleState', { state }) })
}

test('an app on a phone works offline, is paused, killed and started again, and everything arrives once', async (t) => {
  const learner = await stage.signUp()
  const app = await startApp(t)
  assert.deepEqual(await app.evaluate(() => [isSecureContext, location.origin, screen.width]), [true, ORIGIN, 360])
  await openMarea(app, stage, learner)
  assert.equal((await status(app)).storage, 'opfs')
  await waitUntilSent(app)

  await stage.fault({ kind: 'offline' })
  t.after(() => stage.clearFaults())
  const ids = [(await record(app)).id]
  await waitFor('the app to be offline', () => status(app), (seen) => seen.connection === 'offline')

  // Another app is in front, and this one comes back.
  await app.setState('frozen')
  await app.setState('active')
  ids.push((await record(app)).id)
  assert.equal((await progress(app)).total_sessions, 2)
  assert.deepEqual(app.problems, [])

  // The system needs the memory.
  await browser.kill()
  await browser.start()
  const again = await startApp(t)
  await openMarea(again, stage, learner)
  assert.deepEqual([(await progress(again)).total_sessions, (await status(again)).pending], [2, 2])
  await stage.clearFaults()
  await again.evaluate(() => window.marea.sync())
  await waitUntilSent(again)
  await assertArrived(stage, learner, ids)
})
