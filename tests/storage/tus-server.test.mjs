// The engine uploads to the reference server of TUS, `@tus/server`, so that its half of the protocol is checked by something that is
// not ours: through cuts, pieces that arrive in part, and an upload that the server has forgotten.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { signUp, startBackend } from '../browser/backend.mjs'
import { load } from './install.mjs'

const UPLOADS = '/storage/v1/upload/resumable'
const run = promisify(execFile)
const marea = process.env.MAREA_BIN ?? fileURLToPath(new URL('../../target/debug/marea', import.meta.url))

let backend, gateway, folder, uploads, url
/** What happens to the next pieces: `cut` in the middle, `forget` the upload before. */
let faults = []
const seen = []

before(async () => {
  if (!existsSync(marea)) throw new Error(`${marea} is missing. Run \`cargo build -p marea-native\` first.`)
  const [{ Server }, { FileStore }] = await Promise.all([load('@tus/server'), load('@tus/file-store')])
  backend = await startBackend()
  folder = mkdtempSync(join(tmpdir(), 'marea-tus-'))
  uploads = join(folder, 'uploads')
  const tus = new Server({ path: UPLOADS, datastore: new FileStore({ directory: uploads }), respectForwardedHeaders: true })
  // In front of the backend, as Supabase's gateway is: the resumable routes are the other server's.
  gateway = createServer((asked, answer) => {
    if (!asked.url.startsWith(UPLOADS)) return pass(asked, answer)
    seen.push(asked.method)
    const fault = asked.method === 'PATCH' ? faults.shift() : undefined
    if (fault === 'cut') cutInTheMiddle(asked.socket)
    if (fault === 'forget') for (const name of readdirSync(uploads)) rmSync(join(uploads, name))
    void tus.handle(asked, answer).catch(() => answer.destroy())
  })
  await new Promise((resolve) => gateway.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${gateway.address().port}`
})

after(async () => {
  gateway?.closeAllConnections()
  gateway?.close()
  await backend?.stop()
  if (folder) rmSync(folder, { recursive: true, force: true })
})

/** Ends a connection once a part of a piece has come over it: later there may be something else on it. */
function cutInTheMiddle(socket) {
  const most = socket.bytesRead + 1024 * 1024
  const look = () => (socket.bytesRead > most ? socket.destroy() : setTimeout(look, 1))
  look()
}

function pass(asked, answer) {
  const { hostname, port } = new URL(backend.ready.url)
  const passed = request({ hostname, port, method: asked.method, path: asked.url, headers: asked.headers }, (given) => {
    answer.writeHead(given.statusCode, given.headers)
    given.pipe(answer)
  })
  passed.on('error', () => answer.destroy())
  asked.pipe(passed)
}

/** A device of a new learner. */
async function device() {
  const learner = await signUp(backend.ready)
  const env = {
    PATH: process.env.PATH,
    DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nowhere',
    MAREA_DIR: join(mkdtempSync(join(folder, 'device-')), 'data'),
    MAREA_URL: url,
    MAREA_ANON_KEY: backend.ready.anon_key,
    MAREA_TOKEN: learner.token,
  }
  return {
    async json(...words) {
      const { stdout } = await run(marea, [...words, '--json'], { env })
      return JSON.parse(stdout)
    },
  }
}

for (const [story, planned] of Object.entries({
  'in one go': [],
  'with pieces that are cut': ['cut', undefined, 'cut', 'cut'],
  'begun again where the server has forgotten it': [undefined, 'forget'],
})) {
  test(`a large file goes up whole, ${story}`, async () => {
    const marea = await device()
    const bytes = randomBytes(20 * 1024 * 1024 + 7)
    const source = join(folder, 'source.zip')
    writeFileSync(source, bytes)
    const { id } = await marea.json('export', 'create', '--type', 'photos', '--format', 'zip', '--file', source)
    faults = [...planned]
    seen.length = 0
    // Each waits for what it can; a cut costs an attempt.
    for (let attempt = 0; attempt < 20; attempt++) {
      if ((await marea.json('sync')).files.uploaded === 1) break
    }
    const [file] = await marea.json('export', 'files')
    assert.deepEqual([file.state, file.last_error], ['uploaded', null], JSON.stringify([file, seen]))
    assert.deepEqual(faults, [], 'all of it happened')
    const hash = createHash('sha256').update(bytes).digest('hex')
    const made = readdirSync(uploads).filter((name) => !name.endsWith('.json'))
    const found = made.filter((name) => createHash('sha256').update(readFileSync(join(uploads, name))).digest('hex') === hash)
    assert.equal(found.length, 1, `${made.length} uploads`)
    const { metadata } = JSON.parse(readFileSync(join(uploads, `${found[0]}.json`), 'utf8'))
    assert.equal(metadata.bucketName, 'marea-exports')
    assert.match(metadata.objectName, new RegExp(`/${id}/${hash}\\.zip$`))
    const patches = seen.filter((method) => method === 'PATCH').length
    assert.ok(planned.length > 0 || patches === 4, `${patches} pieces`)
  })
}
