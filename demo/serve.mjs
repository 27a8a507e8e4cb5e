// Serves the built page on this machine only: `node demo/serve.mjs [--port N] [--config JSON]`.
//
// Prints one JSON line, {"url": ..., "two": ...}, when it listens. Of the configuration only the backend's address and its public
// key are handed out: the line that the backend prints holds secrets too, and may be given as it is.
//
// The page is served at two ports, the second one after the first. To a browser these are two origins, each with files and
// storage of its own, as two devices have; `two` is the page that shows both side by side.

import { createReadStream, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, normalize, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2',
}

// What an app needs to allow for Marea: workers of its own, and WebAssembly.
const POLICY =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
  "worker-src 'self'; connect-src 'self' http: https: ws: wss:; object-src 'none'; base-uri 'none'"

/** Who may show the page in a frame: nobody, or the same page at the other port. */
function policyFor(devices) {
  if (devices.length === 0) return `${POLICY}; frame-ancestors 'none'`
  return `${POLICY}; frame-src ${devices.join(' ')}; frame-ancestors ${devices.join(' ')}`
}

/**
 * Starts a server. `mounts` maps a path prefix that ends in `/` to a folder; the longest match wins. `devices` are the origins
 * that serve the same page, this one among them; it may be filled later.
 * `policy`, where it is given, is the Content-Security-Policy in place of the demo's.
 * Resolves with its address and a function that stops it.
 */
export function serve({ mounts, config, port = 0, devices = [], policy }) {
  const headers = (type, cache) => ({
    'content-type': type,
    'cache-control': cache,
    'content-security-policy': policy ?? policyFor(devices),
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  })
  const prefixes = Object.keys(mounts).sort((a, b) => b.length - a.length)
  const server = createServer((request, response) => {
    const path = pathOf(request.url)
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405)
    if (path === null) return refuse(response, 400)
    if (path === '/config.json' && config) return sendText(response, JSON.stringify({ ...publicPart(config), devices }))
    const prefix = prefixes.find((candidate) => path.startsWith(candidate))
    const file = prefix && fileAt(mounts[prefix], path.slice(prefix.length))
    if (!file) return refuse(response, 404)
    sendFile(request, response, file)
  })
  const sendFile = (request, response, file) => {
    const named = file.includes(`${sep}assets${sep}`)
    const head = headers(TYPES[extname(file)] ?? 'application/octet-stream', named ? 'public, max-age=31536000, immutable' : 'no-cache')
    // What the build compressed lies beside what it built.
    const packed = `${file}.br`
    const isPacked = /\bbr\b/.test(request.headers['accept-encoding'] ?? '') && statSync(packed, { throwIfNoEntry: false })?.isFile()
    response.writeHead(200, { ...head, vary: 'accept-encoding', ...(isPacked ? { 'content-encoding': 'br' } : {}) })
    if (request.method === 'HEAD') return response.end()
    const stream = createReadStream(isPacked ? packed : file)
    stream.on('error', () => response.destroy())
    stream.pipe(response)
  }
  const sendText = (response, text) => {
    response.writeHead(200, headers('application/json', 'no-store'))
    response.end(text)
  }
  const refuse = (response, status) => {
    response.writeHead(status, headers('text/plain; charset=utf-8', 'no-store'))
    response.end()
  }
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      resolve({ url: `http://127.0.0.1:${server.address().port}`, stop: () => stop(server) })
    })
  })
}

function pathOf(url) {
  try {
    return decodeURIComponent(new URL(url, 'http://page').pathname)
  } catch {
    return null
  }
}

function publicPart(config) {
  return { url: config.url, anonKey: config.anon_key ?? config.anonKey }
}

function fileAt(folder, name) {
  const path = normalize(join(folder, name === '' ? 'index.html' : name))
  if (!path.startsWith(normalize(folder + sep))) return null
  return statSync(path, { throwIfNoEntry: false })?.isFile() ? path : null
}

function stop(server) {
  server.closeAllConnections()
  return new Promise((resolve) => server.close(resolve))
}

/** Serves the same page at two ports; `ports` are two numbers, or 0 for any free one. */
export async function serveTwo({ mounts, config, ports = [0, 0] }) {
  const devices = []
  const servers = []
  const stopAll = () => Promise.all(servers.map((server) => server.stop()))
  try {
    for (const port of ports) {
      const server = await serve({ mounts, config, port, devices })
      servers.push(server)
      devices.push(server.url)
    }
  } catch (error) {
    await stopAll()
    throw error
  }
  return { url: devices[0], two: `${devices[0]}/two.html`, devices, stop: stopAll }
}

async function main() {
  const { values } = parseArgs({ options: { port: { type: 'string' }, config: { type: 'string' } } })
  const dist = fileURLToPath(new URL('dist', import.meta.url))
  if (!statSync(join(dist, 'index.html'), { throwIfNoEntry: false })) {
    console.error('demo/dist is missing. Run `cargo xtask demo`, or `npm run build -w marea-demo`.')
    process.exit(1)
  }
  const config = values.config ? JSON.parse(values.config) : null
  const port = Number(values.port ?? 0)
  const server = await serveTwo({ mounts: { '/': dist }, config, ports: [port, port && port + 1] })
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void server.stop().then(() => process.exit(0)))
  console.log(JSON.stringify({ url: server.url, two: server.two }))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    console.error(`The page could not be served: ${error.message}`)
    process.exit(1)
  })
}
