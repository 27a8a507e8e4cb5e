// A first visit over a slow line: from the page's address to the first `progress()`, against what the same bytes take as one file over
// the same line. The line is this file's: all connections share its rate, and every answer begins one latency after its request.

import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { median } from './print.mjs'

const BYTES_PER_SECOND = 400_000 / 8
const LATENCY_MS = 400
const PIECE = 1_000
const RESTED_MS = 100

const dist = fileURLToPath(new URL('../../wasm/dist', import.meta.url))
const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm' }
const PRELOADS = `<link rel="modulepreload" href="/index.js"><link rel="preload" as="fetch" type="application/wasm" crossorigin href="/marea_wasm_bg.wasm">`

const pageWith = (head, userId) => `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">${head}
<script type="module">
  import { open } from '/index.js'
  const marea = await open({ url: 'http://127.0.0.1:9', publishableKey: 'key', userId: '${userId}', getAccessToken: () => null, online: false })
  await marea.progress()
  window.shown = performance.now()
</script>`

/** Median times of a few first visits, without and with the lines that the README says, and of one file of as many bytes. */
export async function coldStart({ browser, rounds, say }) {
  const line = await openLine()
  const seen = { bare: [], preloaded: [], bytes: [] }
  try {
    for (let round = 0; round < rounds; round++) {
      say(`  cold start ${round + 1} of ${rounds}`)
      const before = line.sent()
      seen.bare.push(await visit(browser, line, ''))
      const bytes = line.sent() - before
      seen.preloaded.push(await visit(browser, line, PRELOADS))
      seen.bytes.push(await oneFile(line, bytes))
    }
    return Object.fromEntries(Object.entries(seen).map(([name, times]) => [name, median(times)]))
  } finally {
    line.close()
  }
}

/** A context of its own has an empty cache, and no mirror. */
async function visit({ context }, line, head) {
  const fresh = await context.browser().newContext()
  line.page = pageWith(head, randomUUID())
  const page = await fresh.newPage()
  await page.goto(`${line.url}/`, { waitUntil: 'commit', timeout: 120_000 })
  const shown = await page.waitForFunction(() => window.shown, undefined, { timeout: 120_000, polling: 20 })
  const took = await shown.jsonValue()
  await fresh.close()
  return took
}

async function oneFile(line, bytes) {
  line.page = null
  const start = performance.now()
  const answer = await fetch(`${line.url}/bytes/${bytes}`)
  await answer.arrayBuffer()
  return performance.now() - start
}

async function openLine() {
  const packed = new Map()
  let [sent, free] = [0, 0]
  /** When so many bytes have gone over the line, behind all that go before them. */
  const over = (bytes) => {
    // A timer that is late must not make the line slower: only a line that has rested begins anew.
    const now = performance.now()
    free = (now - free > RESTED_MS ? now : free) + (bytes / BYTES_PER_SECOND) * 1_000
    sent += bytes
    return pause(Math.max(0, free - performance.now()))
  }
  const answer = async (request, response) => {
    const { pathname } = new URL(request.url, 'http://page')
    await pause(LATENCY_MS)
    const body = bodyOf(pathname)
    if (!body) return response.writeHead(404).end()
    response.writeHead(200, body.headers)
    for (let at = 0; at < body.bytes.length; at += PIECE) {
      const piece = body.bytes.subarray(at, at + PIECE)
      await over(piece.length)
      response.write(piece)
    }
    response.end()
  }
  const bodyOf = (path) => {
    const asked = /^\/bytes\/(\d+)$/.exec(path)
    if (asked) return { bytes: Buffer.alloc(Number(asked[1])), headers: {} }
    const gzip = { 'content-encoding': 'gzip', 'cache-control': 'public, max-age=31536000, immutable' }
    if (path === '/') return { bytes: gzipSync(line.page), headers: { ...gzip, 'content-type': 'text/html' } }
    const file = `${dist}${path}`
    if (!existsSync(file)) return null
    if (!packed.has(file)) packed.set(file, gzipSync(readFileSync(file), { level: 9 }))
    return { bytes: packed.get(file), headers: { ...gzip, 'content-type': TYPES[extname(file)] ?? 'text/plain' } }
  }
  const server = createServer((request, response) => void answer(request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const line = {
    url: `http://127.0.0.1:${server.address().port}`,
    page: null,
    sent: () => sent,
    close: () => (server.closeAllConnections(), server.close()),
  }
  return line
}
