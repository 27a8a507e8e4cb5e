// The core of it in an installed Firefox, by hand: `node --experimental-websocket tests/browser/firefox.mjs [firefox-esr]`,
// after `cargo xtask sizes` has built the package. Firefox is driven over WebDriver BiDi, its own protocol: Playwright's
// driver for it asks for more than an extended-support release knows. No part of `cargo xtask test`.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { makeProfile } from '../../demo/tools/chromium.mjs'
import { OPTIONS, normalWindow, record, servePackage, storage, total } from './elsewhere.mjs'


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

async function privateWindow(newTab) {
  const tab = await newTab()
  await record(tab)
  assert.equal(await total(tab), 1)
  assert.equal(await storage(tab), 'local-storage')
  console.log('  a private window: recorded and read, kept in local storage')
}

const page = await servePackage()
try {
  for (const [flags, run] of [[[], normalWindow], [['-private-window'], privateWindow]]) {
    const profile = makeProfile()
    const firefox = await startFirefox(process.argv[2] ?? 'firefox-esr', profile.folder, flags)
    console.log(`Firefox ${firefox.version}${flags.length > 0 ? ', private' : ''}`)
    try {
      await run(() => openTab(firefox, page.url))
    } finally {
      await firefox.stop()
      profile.remove()
    }
  }
} finally {
  await page.stop()
}
