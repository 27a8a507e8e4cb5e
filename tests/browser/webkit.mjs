// The core of it in WebKitGTK, by hand: `node tests/browser/webkit.mjs [MiniBrowser]`, after `cargo xtask sizes` has built the
// package. Debian's `webkit2gtk-driver` and `xvfb`. No part of `cargo xtask test`: WebKit is a large package.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { OPTIONS, normalWindow, servePackage } from './elsewhere.mjs'

const BROWSER = process.argv[2] ?? '/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser'
const START_LIMIT_MS = 30_000

const children = []
function start(program, words, options) {
  const child = spawn(program, words, options)
  children.push(child)
  return child
}

/** An X server that picks a free display. */
async function startScreen() {
  const child = start('Xvfb', ['-displayfd', '1', '-screen', '0', '800x600x24'], { stdio: ['ignore', 'pipe', 'ignore'] })
  const [number] = await once(createInterface({ input: child.stdout }), 'line')
  return `:${number}`
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  return port
}

/** A WebKit, and what calls WebDriver about it. */
async function startWebKit(display) {
  const port = await freePort()
  start('WebKitWebDriver', [`--port=${port}`], { env: { ...process.env, DISPLAY: display }, stdio: ['ignore', 'ignore', 'inherit'] })
  const call = async (method, path, body) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method, ...(body && { body: JSON.stringify(body) }) })
    const { value } = await answer.json()
    if (!answer.ok) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`)
    return value
  }
  for (const end = Date.now() + START_LIMIT_MS; ; await pause(50)) {
    const status = await call('GET', '/status').catch(() => null)
    if (status?.ready) break
    if (Date.now() > end) throw new Error('the driver of WebKit does not answer')
  }
  const options = { 'webkitgtk:browserOptions': { binary: BROWSER, args: ['--automation'] } }
  const { sessionId, capabilities } = await call('POST', '/session', { capabilities: { alwaysMatch: options } })
  const session = (method, path, body) => call(method, `/session/${sessionId}${path}`, body)
  await session('POST', '/timeouts', { script: START_LIMIT_MS })
  return { session, version: `${capabilities.browserName} ${capabilities.browserVersion}`, stop: () => call('DELETE', `/session/${sessionId}`) }
}

async function openTab(webkit, url) {
  const { handle } = await webkit.session('POST', '/window/new', { type: 'tab' })
  const within = async (method, path, body) => {
    await webkit.session('POST', '/window', { handle })
    return webkit.session(method, path, body)
  }
  const tab = {
    async load() {
      await within('POST', '/url', { url })
      await tab.run(async (options) => {
        // The page's own script may still be loading.
        while (!window.ready) await new Promise((resolve) => setTimeout(resolve, 50))
        await window.openMarea(options)
      }, OPTIONS)
    },
    /** Runs a function in the page; what goes in and out is JSON. */
    async run(call, ...args) {
      const script = `const answer = arguments[arguments.length - 1];
        (async () => JSON.stringify(await (${call})(...${JSON.stringify(args)})) ?? 'null')()
          .then((json) => answer({ json }), (error) => answer({ error: String(error) }))`
      const { json, error } = await within('POST', '/execute/async', { script, args: [] })
      if (error) throw new Error(error)
      return JSON.parse(json)
    },
    close: () => within('DELETE', '/window'),
  }
  await tab.load()
  return tab
}

const page = await servePackage()
try {
  const webkit = await startWebKit(await startScreen())
  console.log(webkit.version)
  try {
    // Windows under automation are private ones: WebKit gives them no file system.
    await normalWindow(() => openTab(webkit, page.url), 'local-storage')
  } finally {
    await webkit.stop().catch(() => undefined)
  }
} finally {
  for (const child of children.reverse()) child.kill('SIGTERM')
  await page.stop()
}
