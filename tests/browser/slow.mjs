// The page and the package from a server of the test's own: it compresses as a real one does, notes what it was asked for, and
// hands the module out in the pieces that a test says.

import { createServer } from 'node:http'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const root = fileURLToPath(new URL('../..', import.meta.url))
const MODULE = '/marea/marea_wasm_bg.wasm'
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' }

function fileAt(path) {
  if (path.startsWith('/marea/')) return `${root}wasm/dist/${path.slice('/marea/'.length)}`
  return `${root}tests/browser/page/${path === '/' ? 'index.html' : path.slice(1)}`
}

function contentOf(file, head) {
  const bytes = readFileSync(file)
  return extname(file) === '.html' ? bytes.toString().replace('<head>', `<head>${head}`) : bytes
}

/** Serves until the file's tests are over. With `held`, the module comes only in the pieces that `send` asks for. */
export async function serveSlowly({ held = false, head = '' } = {}) {
  const asked = []
  const packed = new Map()
  let module = null
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://page')
    asked.push(pathname)
    const file = fileAt(pathname)
    if (!existsSync(file)) return response.writeHead(404).end()
    const type = TYPES[extname(file)] ?? 'application/octet-stream'
    const headers = { 'content-type': type, 'cache-control': 'no-cache' }
    if (held && pathname === MODULE) {
      module = { response: response.writeHead(200, headers), bytes: readFileSync(file), sent: 0 }
      return response.flushHeaders()
    }
    if (!packed.has(file)) packed.set(file, gzipSync(contentOf(file, head), { level: 9 }))
    const [bytes, etag] = [packed.get(file), `"${packed.get(file).length}"`]
    if (request.headers['if-none-match'] === etag) return response.writeHead(304, { ...headers, etag }).end()
    response.writeHead(200, { ...headers, etag, 'content-encoding': 'gzip' }).end(bytes)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => (server.closeAllConnections(), server.close()))
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    asked,
    /** What the files of these paths weigh on the line. */
    weigh: (paths) => paths.reduce((sum, path) => sum + (packed.get(fileAt(path))?.length ?? 0), 0),
    moduleBytes: readFileSync(fileAt(MODULE)).length,
    /** Sends so many bytes more of the module, or all that is left. */
    send(bytes = Infinity) {
      const piece = module.bytes.subarray(module.sent, module.sent + bytes)
      module.sent += piece.length
      module.response.write(piece)
      if (module.sent === module.bytes.length) module.response.end()
    },
    get moduleAsked() {
      return asked.filter((path) => path === MODULE).length
    },
  }
}
