// The core of it in an installed Firefox, by hand: `node --experimental-websocket tests/browser/firefox.mjs [firefox-esr]`,
// after `cargo xtask sizes` has built the package. Firefox is driven over WebDriver BiDi, its own protocol: Playwright's
// driver for it asks for more than an extended-support release knows. No part of `cargo xtask test`.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { serve } from '../../demo/serve.mjs'
import { makeProfile } from '../../demo/tools/chromium.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const OPTIONS = { url: 'http://127.0.0.1:9', anonKey: 'anon', userId: '6d0f0000-0000-4000-8000-000000000001', online: false }

/** A Firefox, and the one connection to it. */
async function startFirefox(program, folder, flags) {
  const child = spawn(program, ['--headless', '--remote-debugging-port=0', '--profile', folder, ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  child.stderr.setEncoding('utf8')
  const address = await new Promise((resolve, reject) => {
    let text = ''
    child.once('error', reject)
    child.once('close', (code) => reject(new Error(`Firefox ended with ${code}:\n${text}`)))
    child.stderr.on('data', (chunk) => {
      text += chunk
      const found = /WebDriver BiDi listening on (ws:\/\/\S+)/.exec(text)?.[1]
      if (found) resolve(found)
    })
  })
  const socket = new WebSocket(`${address}/session`)
  await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }))
  const waiting = new Map()
  socket.onmessage = ({ data }) => {
    const { id, type, result, error, message } = JSON.parse(data)
    if (type === 'error') waiting.get(id)?.reject(new Error(`${error}: ${message}`))
    else waiting.get(id)?.resolve(result)
  }
  let last = 0
  const send = (method, params = {}) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject })
      socket.send(JSON.stringify({ id: last, method, params }))
    })
  const { capabilities } = await send('session.new', { capabilities: {} })
  const ended = new Promise((resolve) => child.once('close', resolve))
  return { send, version: capabilities.browserVersion, stop: () => (send('browser.close').catch(() => undefined), ended) }
}

async function openTab(firefox, url) {
  const { context } = await firefox.send('browsingContext.create', { type: 'tab' })
  const tab = {
    async load() {
      await firefox.send('browsingContext.navigate', { context, url, wait: 'complete' })
      await tab.run((options) => window.openMarea(options), OPTIONS)
    },
    /** Runs a function in the page; what goes in and out is JSON. */
    async run(call, ...args) {
      const expression = `(async () => JSON.stringify(await (${call})(...${JSON.stringify(args)})) ?? 'null')()`
      const params = { expression, target: { context }, awaitPromise: true }
      const { type, result, exceptionDetails } = await firefox.send('script.evaluate', params)
      if (type === 'exception') throw new Error(exceptionDetails.text)
      return JSON.parse(result.value)
    },
    close: () => firefox.send('browsingContext.close', { context }),
  }
  await tab.load()
  return tab
}

const record = (tab) => tab.run(() => window.marea.recordSession({ session_type: 'qa' }))
const total = (tab) => tab.run(() => window.marea.progress().then((progress) => progress.total_sessions))
const storage = (tab) => tab.run(() => window.marea.status().then((status) => status.storage))
const timed = (tab) =>
  tab.run(async () => {
    const write = () => window.marea.recordSession({ session_type: 'qa' })
    const start = performance.now()
    for (let made = 0; made < 100; made++) await write()
    const between = performance.now()
    await Promise.all(Array.from({ length: 100 }, write))
    return [between - start, performance.now() - between].map(Math.round)
  })

async function normalWindow(firefox, url) {
  const first = await openTab(firefox, url)
  await record(first)
  assert.equal(await storage(first), 'opfs')
  const second = await openTab(firefox, url)
  assert.equal((await record(second)).pending, 2)
  assert.deepEqual([await total(first), await total(second)], [2, 2])
  console.log('  two tabs share one mirror on OPFS')
  const [inTurn, atOnce] = await timed(second)
  console.log(`  100 sessions from the tab that follows: ${inTurn} ms one after the other, ${atOnce} ms at once`)
  const goneAt = Date.now()
  await first.close()
  assert.equal(await total(second), 202)
  console.log(`  the leader closed: served again after ${Date.now() - goneAt} ms`)
  await second.load()
  assert.equal(await total(second), 202)
  console.log('  after a reload all of it is there')
}

async function privateWindow(firefox, url) {
  const tab = await openTab(firefox, url)
  await record(tab)
  assert.equal(await total(tab), 1)
  assert.equal(await storage(tab), 'local-storage')
  console.log('  a private window: recorded and read, kept in local storage')
}

const page = await serve({ mounts: { '/': `${root}tests/browser/page`, '/marea/': `${root}wasm/dist` } })
try {
  for (const [flags, run] of [[[], normalWindow], [['-private-window'], privateWindow]]) {
    const profile = makeProfile()
    const firefox = await startFirefox(process.argv[2] ?? 'firefox-esr', profile.folder, flags)
    console.log(`Firefox ${firefox.version}${flags.length > 0 ? ', private' : ''}`)
    try {
      await run(firefox, page.url)
    } finally {
      await firefox.stop()
      profile.remove()
    }
  }
} finally {
  await page.stop()
}
