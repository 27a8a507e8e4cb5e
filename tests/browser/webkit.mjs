// The core of it in WebKitGTK, by hand: `node tests/browser/webkit.mjs [MiniBrowser]`, after `cargo xtask sizes` has built the
// package. Debian's `webkit2gtk-driver` and `xvfb`. No part of `cargo xtask test`: WebKit is a large package.

import { spawn } from 'node:child_process'
import { OPTIONS, normalWindow, servePackage } from './elsewhere.mjs'
import { startScreen, startSession } from './webkit-driver.mjs'

const BROWSER = process.argv[2] ?? '/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser'
const SCRIPT_LIMIT_MS = 30_000

const children = []
function start(program, words, options) {
  const child = spawn(program, words, options)
  children.push(child)
  return child
}

async function openTab(webkit, url) {
  const { handle } = await webkit.call('POST', '/window/new', { type: 'tab' })
  const within = async (method, path, body) => {
    await webkit.call('POST', '/window', { handle })
    return webkit.call(method, path, body)
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
  const env = { DISPLAY: await startScreen(start) }
  const webkit = await startSession(start, { binary: BROWSER, args: ['--automation'], env })
  await webkit.call('POST', '/timeouts', { script: SCRIPT_LIMIT_MS })
  console.log(webkit.version)
  try {
    // WebKitGTK has the file system's functions, and refuses the synchronous handle: its processes cannot hand one over.
    await normalWindow(() => openTab(webkit, page.url), 'local-storage')
  } finally {
    await webkit.stop()
  }
} finally {
  for (const child of children.reverse()) child.kill('SIGTERM')
  await page.stop()
}
