// The backend keeps the bytes of files in a bucket of S3, served by `s3s-fs`, which checks each signature: files of both sizes through the
// real command, parts of them, what S3 refuses, and an S3 that goes away in the middle.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import pg from 'pg'

import { waitFor } from '../../demo/tools/wait.mjs'
import { signUp, startBackend } from '../browser/backend.mjs'
import { s3Server } from './install.mjs'

const BUCKET = 'kept-by-marea'
const KEYS = { AWS_ACCESS_KEY_ID: 'tester', AWS_SECRET_ACCESS_KEY: 'a secret of the test' }
const run = promisify(execFile)
const marea = process.env.MAREA_BIN ?? fileURLToPath(new URL('../../target/debug/marea', import.meta.url))

let folder, port, s3, backend, sql

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'marea-s3-'))
  mkdirSync(join(folder, 's3', BUCKET), { recursive: true })
  port = await freePort()
  s3 = await startS3()
  backend = await startWith(KEYS)
  sql = new pg.Client({ connectionString: backend.ready.database_url })
  await sql.connect()
})

after(async () => {
  await sql?.end()
  await backend?.stop()
  await s3?.stop()
  if (folder) rmSync(folder, { recursive: true, force: true })
})

const startWith = (keys) =>
  startBackend({ args: ['--objects', `s3://${BUCKET}`], env: { ...keys, AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`, AWS_REGION: 'us-east-1' } })

function freePort() {
  return new Promise((resolve) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

async function startS3() {
  const words = ['--host', '127.0.0.1', '--port', String(port), '--access-key', KEYS.AWS_ACCESS_KEY_ID, '--secret-key', KEYS.AWS_SECRET_ACCESS_KEY]
  const child = spawn(s3Server(), [...words, join(folder, 's3')], { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = new Promise((resolve) => child.once('close', resolve))
  const answers = () => fetch(`http://127.0.0.1:${port}/`).then(() => true, () => false)
  await waitFor('s3s-fs to answer', answers, (does) => does)
  return {
    async stop() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** A device of a learner, as a process of the real command. */
function device(learner, at = backend) {
  const env = {
    PATH: process.env.PATH,
    DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nowhere',
    MAREA_DIR: join(mkdtempSync(join(folder, 'device-')), 'data'),
    MAREA_URL: at.ready.url,
    MAREA_KEY: at.ready.anon_key,
    MAREA_TOKEN: learner.token,
  }
  return async (...words) => JSON.parse((await run(marea, [...words, '--json'], { env })).stdout)
}

/** Keeps a file with an export. */
async function create(command, bytes) {
  const source = join(folder, `source-${randomBytes(8).toString('hex')}.zip`)
  writeFileSync(source, bytes)
  return (await command('export', 'create', '--type', 'photos', '--format', 'zip', '--file', source)).id
}

/** The sizes of what lies in the bucket, below a folder of it. */
function inBucket(below) {
  try {
    return readdirSync(join(folder, 's3', BUCKET, below), { recursive: true })
      .map((name) => statSync(join(folder, 's3', BUCKET, below, name)))
      .filter((it) => it.isFile())
      .map((it) => it.size)
  } catch {
    return []
  }
}

const sha = (bytes) => createHash('sha256').update(bytes).digest('hex')
const sizes = [10, 100_000, 20 * 1024 * 1024 + 7]

test('files of every size lie in S3, are read on another device and in parts, and go', async () => {
  const learner = await signUp(backend.ready)
  const [train, home] = [device(learner), device(learner)]
  const files = sizes.map((size) => randomBytes(size))
  const ids = []
  for (const bytes of files) ids.push(await create(train, bytes))
  assert.deepEqual(inBucket('objects'), [], 'nothing before the sync')
  const synced = await train('sync')
  assert.equal(synced.files.uploaded, files.length, JSON.stringify(synced))
  assert.deepEqual(inBucket('objects').sort((a, b) => a - b), sizes)
  assert.deepEqual(inBucket('uploads'), [], 'no pieces are left over')

  await home('sync')
  for (const [at, bytes] of files.entries()) {
    const copy = join(folder, `copy-${at}.zip`)
    await home('export', 'download', ids[at], '--out', copy)
    assert.equal(sha(readFileSync(copy)), sha(bytes))
    const { url } = await home('export', 'link', ids[at])
    const part = await fetch(url, { headers: { range: 'bytes=3-6' } })
    assert.equal(part.status, 206)
    assert.deepEqual(Buffer.from(await part.arrayBuffer()), bytes.subarray(3, 7))
  }
  for (const id of ids) await train('export', 'update', id, '--expires-at', '2020-01-01T00:00:00Z')
  await train('sync')
  assert.deepEqual(inBucket('objects'), [])
})

test('while S3 is away a file waits, and nothing of it is promised', async () => {
  const learner = await signUp(backend.ready)
  const command = device(learner)
  const bytes = [randomBytes(5_000), randomBytes(8 * 1024 * 1024)]
  const ids = []
  for (const one of bytes) ids.push(await create(command, one))
  await s3.stop()
  const away = await command('sync')
  assert.deepEqual([away.outcome, away.pending, away.files.uploaded], ['done', 0, 0], JSON.stringify(away))
  const told = await command('export', 'files')
  assert.ok(told.every((file) => ['waiting', 'uploading'].includes(file.state)), JSON.stringify(told))
  const { rows } = await sql.query('SELECT name FROM storage.objects WHERE name LIKE $1', [`${learner.id}/%`])
  assert.deepEqual(rows, [])
  s3 = await startS3()
  for (const id of ids) await command('export', 'retry', id)
  await waitFor('both files', () => command('sync'), () => inBucket('objects').length === 2)
  assert.deepEqual(inBucket('objects').sort((a, b) => a - b), bytes.map((one) => one.length))
})

test('with keys that S3 does not take nothing is kept, and the client is told that the server failed', async () => {
  const other = await startWith({ ...KEYS, AWS_SECRET_ACCESS_KEY: 'another secret' })
  try {
    const learner = await signUp(other.ready)
    const before = inBucket('objects').length
    const headers = { apikey: other.ready.anon_key, authorization: `Bearer ${learner.token}` }
    const made = await fetch(`${other.ready.url}/rest/v1/export_history`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', prefer: 'return=representation' },
      body: JSON.stringify({ user_id: learner.id, export_type: 'photos', export_format: 'zip' }),
    })
    const [{ id }] = await made.json()
    const path = `${learner.id}/${id}/${sha('a')}.zip`
    const at = `${other.ready.url}/storage/v1/object/marea-exports/${path}`
    const answer = await fetch(at, { method: 'POST', headers: { ...headers, 'content-type': 'application/zip' }, body: 'a' })
    const body = await answer.json()
    assert.deepEqual([answer.status, body.code], [500, 'InternalError'], JSON.stringify(body))
    assert.ok(!JSON.stringify(body).includes('secret'))
    assert.equal(inBucket('objects').length, before)
    assert.notEqual((await fetch(at.replace('/object/', '/object/authenticated/'), { headers })).status, 200, 'no row of it')
  } finally {
    await other.stop()
  }
})
