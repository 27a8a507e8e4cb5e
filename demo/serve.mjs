// Serves the built page on this machine only: `node demo/serve.mjs [--port N] [--config JSON]`.
//
// Prints one JSON line, {"url": ...}, when it listens. Of the configuration only the backend's address and its public
// key are handed out: the line that the backend prints holds secrets too, and may be given as it is.

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
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "worker-src 'self'; connect-src 'self' http: https:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"

/**
 * Starts a server. `mounts` maps a path prefix that ends in `/` to a folder; the longest match wins.
 * `policy` is the Content-Security-Policy of everything. Resolves with its address and a function that stops it.
 */
export function serve({ mounts, config, port = 0, policy = POLICY }) {
  const prefixes = Object.keys(mounts).sort((a, b) => b.length - a.length)
  const server = createServer((request, response) => {
    response.setHeader('content-security-policy', policy)
    const path = pathOf(request.url)
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405)
    if (path === null) return refuse(response, 400)
    if (path === '/config.json' && config) return sendText(response, JSON.stringify(publicPart(config)))
    const prefix = prefixes.find((candidate) => path.startsWith(candidate))
    const file = prefix && fileAt(mounts[prefix], path.slice(prefix.length))
    if (!file) return refuse(response, 404)
    sendFile(request, response, file)
  })
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

function headers(type, cache) {
  return {
    'content-type': type,
    'cache-control': cache,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  }
}

function sendFile(request, response, file) {
  const named = file.includes(`${sep}assets${sep}`)
  const cache = named ? 'public, max-age=31536000, immutable' : 'no-cache'
  response.writeHead(200, headers(TYPES[extname(file)] ?? 'application/octet-stream', cache))
  if (request.method === 'HEAD') return response.end()
  const stream = createReadStream(file)
  stream.on('error', () => response.destroy())
  stream.pipe(response)
}

function sendText(response, text) {
  response.writeHead(200, headers('application/json', 'no-store'))
  response.end(text)
}

function refuse(response, status) {
  response.writeHead(status, headers('text/plain; charset=utf-8', 'no-store'))
  response.end()
}

function stop(server) {
  server.closeAllConnections()
  return new Promise((resolve) => server.close(resolve))
}

async function main() {
  const { values } = parseArgs({ options: { port: { type: 'string' }, config: { type: 'string' } } })
  const dist = fileURLToPath(new URL('dist', import.meta.url))
  if (!statSync(join(dist, 'index.html'), { throwIfNoEntry: false })) {
    console.error('demo/dist is missing. Run `cargo xtask demo`, or `npm run build -w marea-demo`.')
    process.exit(1)
  }
  const config = values.config ? JSON.parse(values.config) : null
  const server = await serve({ mounts: { '/': dist }, config, port: Number(values.port ?? 0) })
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void server.stop().then(() => process.exit(0)))
  console.log(JSON.stringify({ url: server.url }))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    console.error(`The page could not be served: ${error.message}`)
    process.exit(1)
  })
}
