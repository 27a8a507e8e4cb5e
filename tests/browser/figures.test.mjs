// Figures, printed and not asserted: a test that depends on the speed of the machine fails on another one.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { load, openMarea, progress, record, servePage, startBrowser, untilReady } from './harness.mjs'
import { serveSlowly } from './slow.mjs'
import { openTabs } from './tabs.mjs'

const NOWHERE = { url: 'http://127.0.0.1:9', anon_key: 'anon' }
const RUNS = 10

let stage, browser
before(async () => {
  stage = { backend: NOWHERE, ...(await servePage()) }
  browser = await startBrowser(stage)
})

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
const ms = (value) => `${value.toFixed(0)} ms`

test('from open() to the first progress()', async (t) => {
  const page = await browser.newPage(t)
  const learner = { id: randomUUID(), token: null }
  await openMarea(page, stage, learner, { online: false })
  await record(page)
  const times = []
  for (let run = 0; run < RUNS; run++) {
    await load(page, stage)
    const [elapsed, sessions] = await page.evaluate(
      async (options) => {
        const start = performance.now()
        await window.openMarea(options)
        const { total_sessions } = await window.marea.progress()
        return [performance.now() - start, total_sessions]
      },
      { url: NOWHERE.url, anonKey: NOWHERE.anon_key, userId: learner.id, online: false },
    )
    assert.equal(sessions, 1)
    times.push(elapsed)
  }
  const [least, most] = [Math.min(...times), Math.max(...times)]
  t.diagnostic(`open() to progress(), warm, ${RUNS} times: median ${ms(median(times))} (${ms(least)} to ${ms(most)})`)
  t.diagnostic(`Chromium ${browser.version}`)
})

test('sessions one after the other, and at once', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, { id: randomUUID(), token: null }, { online: false })
  const count = 300
  const [single, together] = await page.evaluate(async (count) => {
    const session = { session_type: 'qa', duration_minutes: 5 }
    const start = performance.now()
    for (let made = 0; made < count; made++) await window.marea.recordSession(session)
    const between = performance.now()
    await Promise.all(Array.from({ length: count }, () => window.marea.recordSession(session)))
    return [between - start, performance.now() - between]
  }, count)
  assert.equal((await progress(page)).total_sessions, 2 * count)
  t.diagnostic(`${count} recordSession, each awaited: ${ms(single)}; at once: ${ms(together)} (1/${(single / together).toFixed(1)})`)
})

test('progress() in the tab that leads and in one that follows', async (t) => {
  const tabs = await openTabs(t, browser, stage, { id: randomUUID(), token: null }, 2, { online: false })
  await record(tabs[0])
  for (const [name, page] of [['leads', tabs[0]], ['follows', tabs[1]]]) {
    const times = await page.evaluate(async () => {
      const times = []
      for (let read = 0; read < 1_000; read++) {
        const start = performance.now()
        await window.marea.progress()
        times.push(performance.now() - start)
      }
      return times.sort((a, b) => a - b)
    })
    assert.equal(times.length, 1_000)
    t.diagnostic(`progress() in a tab that ${name}: p50 ${times[500].toFixed(2)} ms, p99 ${times[990].toFixed(2)} ms`)
  }
})

// What README.md says an app puts into its page.
const PRELOAD =
  '<link rel="modulepreload" href="/marea/index.js">' +
  '<link rel="preload" as="fetch" type="application/wasm" crossorigin href="/marea/marea_wasm_bg.wasm">'

test('a cold start over a slow line, beside the time that its bytes take', async (t) => {
  const [bytesPerSecond, latency] = [400_000 / 8, 400]
  for (const [name, head] of [['as it is', ''], ['with its files named in the page', PRELOAD]]) {
    const server = await serveSlowly({ head })
    const page = await browser.context.newPage()
    t.after(() => page.close())
    const devtools = await browser.context.newCDPSession(page)
    await devtools.send('Network.enable')
    const line = { offline: false, latency, downloadThroughput: bytesPerSecond, uploadThroughput: bytesPerSecond }
    await devtools.send('Network.emulateNetworkConditions', line)
    const cold = async () => {
      const start = performance.now()
      await page.goto(server.url)
      await untilReady(page)
      await openMarea(page, stage, { id: randomUUID(), token: null }, { online: false })
      assert.equal((await progress(page)).total_sessions, 0)
      return (performance.now() - start) / 1000
    }
    const elapsed = await cold()
    const bytes = server.weigh(server.asked)
    const alone = bytes / bytesPerSecond
    t.diagnostic(
      `cold, 400 kbps and 400 ms, ${name}: page to first progress ${elapsed.toFixed(1)} s; its ${bytes} bytes alone ` +
        `${alone.toFixed(1)} s (${(elapsed / alone).toFixed(2)} times)`,
    )
    if (head) t.diagnostic(`the same again, its files in the cache: ${(await cold()).toFixed(1)} s`)
  }
})

test('what the browser downloads', (t) => {
  const dist = fileURLToPath(new URL('../../wasm/dist/', import.meta.url))
  const files = readdirSync(dist, { recursive: true }).filter((name) => /\.(js|wasm)$/.test(name))
  const sizes = files.map((name) => {
    const bytes = readFileSync(dist + name)
    return { name, raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length }
  })
  const sum = (list, key) => list.reduce((total, size) => total + size[key], 0)
  for (const kind of ['.wasm', '.js']) {
    const part = sizes.filter((size) => size.name.endsWith(kind))
    t.diagnostic(`${kind}: ${sum(part, 'raw')} bytes, ${sum(part, 'gzip')} gzipped`)
  }
  t.diagnostic(`all of @marea/client: ${sum(sizes, 'raw')} bytes, ${sum(sizes, 'gzip')} gzipped`)
  assert.ok(files.includes('marea_wasm_bg.wasm'))
})
