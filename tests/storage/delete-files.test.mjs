// The way without pg_net (examples/files): the script, and the same as an Edge Function, delete what is due through the real routes, and
// nothing else; a run ends whatever the server does, and what it could not delete stays due.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'

import { transform } from 'esbuild'
import pg from 'pg'

import { deleteFiles } from '../../examples/files/delete-files.mjs'
import { setFault, signUp, startBackend } from '../browser/backend.mjs'

const example = (name) => fileURLToPath(new URL(`../../examples/files/${name}`, import.meta.url))
const STORAGE = '/storage/v1/object'
const TELL = '/rest/v1/rpc/marea_files_deleted'

let backend, sql
before(async () => {
  backend = await startBackend({ args: ['--sql', example('expose.sql')] })
  sql = new pg.Client({ connectionString: backend.ready.database_url })
  await sql.connect()
})
afterEach(async () => {
  await setFault(backend.ready, null)
  await sql.query('DELETE FROM marea.file_garbage')
})
after(async () => {
  await sql?.end()
  await backend?.stop()
})

const service = () => ({ url: `${backend.ready.url}/`, key: backend.ready.service_key, firstWaitMs: 1 })

/** Exports of a learner, each with its object in the bucket; gives their paths. */
async function exports(learner, count) {
  const { rows } = await sql.query(
    `INSERT INTO public.export_history (id, user_id, export_type, export_format, status, file_url)
     SELECT id, $1::uuid, 't', 'csv', 'completed', 'storage://marea-exports/' || $1::uuid || '/' || id || '/' || repeat('0a', 32) || '.csv'
     FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $2)) AS made
     RETURNING substr(file_url, length('storage://marea-exports/') + 1) AS path`,
    [learner.id, count],
  )
  const paths = rows.map(({ path }) => path)
  const headers = { apikey: backend.ready.service_key, authorization: `Bearer ${backend.ready.service_key}`, 'content-type': 'text/csv' }
  for (const path of paths) {
    const answer = await fetch(`${backend.ready.url}${STORAGE}/marea-exports/${path}`, { method: 'POST', headers, body: 'a\r\n' })
    assert.equal(answer.status, 200)
  }
  return paths
}

const expire = (paths) =>
  sql.query(`UPDATE public.export_history SET status = 'expired', file_url = NULL WHERE id = ANY ($1)`, [paths.map((path) => path.split('/')[1])])
const names = async (query, values) => (await sql.query(query, values)).rows.map(({ name }) => name)
const objects = (learner) => names(`SELECT name FROM storage.objects WHERE name LIKE $1 || '/%' ORDER BY name`, [learner.id])
const due = (learner) => names(`SELECT path AS name FROM marea.file_garbage WHERE path LIKE $1 || '/%' ORDER BY path`, [learner.id])

/** What a run asked for, as `METHOD /path`. */
async function requestsOf(run) {
  const asked = []
  const real = globalThis.fetch
  globalThis.fetch = (url, options) => {
    asked.push(`${options.method} ${new URL(url).pathname}`)
    return real(url, options)
  }
  try {
    return [await run(), asked]
  } finally {
    globalThis.fetch = real
  }
}

test('the script deletes what is due, and nothing else', async () => {
  const [ada, eve] = [await signUp(backend.ready), await signUp(backend.ready)]
  const [kept, again, ...gone] = await exports(ada, 4)
  const hers = await exports(eve, 1)
  await expire([again, ...gone])
  // A device that was away says again where one of them is; another names a file of somebody else.
  await sql.query(`UPDATE public.export_history SET status = 'completed', file_url = 'storage://marea-exports/' || $1 WHERE id = $2`, [again, again.split('/')[1]])
  await sql.query(`UPDATE public.export_history SET file_url = 'storage://marea-exports/' || $1 WHERE id = $2`, [hers[0], kept.split('/')[1]])
  await sql.query(`DELETE FROM public.export_history WHERE id = $1`, [kept.split('/')[1]])
  // A bucket of the app's own has an object of the same name.
  await sql.query(`INSERT INTO storage.buckets (id, name) VALUES ('own', 'own') ON CONFLICT DO NOTHING`)
  await sql.query(`INSERT INTO storage.objects (bucket_id, name) VALUES ('own', $1)`, [gone[0]])
  const env = { PATH: process.env.PATH, MAREA_URL: backend.ready.url, MAREA_SERVICE_KEY: backend.ready.secret_key }
  const run = () => new Promise((resolve) => execFile(process.execPath, [example('delete-files.mjs')], { env }, (error, out) => resolve([error?.code ?? 0, JSON.parse(out)])))
  // The file that an export named before it named another's is due too: it was its own.
  assert.deepEqual(await run(), [0, { due: 3, deleted: 3, error: null }])
  assert.deepEqual(await objects(ada), [again, gone[0]].sort(), 'what is named again, and what is in another bucket')
  assert.deepEqual(await objects(eve), hers)
  assert.deepEqual(await run(), [0, { due: 0, deleted: 0, error: null }])
  await sql.query(`BEGIN; SELECT set_config('storage.allow_delete_query', 'true', true); DELETE FROM storage.objects WHERE bucket_id = 'own'; COMMIT`)
})

test('a server that fails for a while is asked again, and one that goes on failing ends the run', async () => {
  const ada = await signUp(backend.ready)
  const run = () => requestsOf(() => deleteFiles(service()))
  for (const [path, kind, more] of [[STORAGE, 'status', { status: 503 }], [STORAGE, 'offline', {}], [STORAGE, 'drop_answer', {}], [TELL, 'drop_answer', {}], [TELL, 'status', { status: 429 }]]) {
    await expire(await exports(ada, 1))
    await setFault(backend.ready, { kind, path, times: 2, ...more })
    const [said] = await run()
    // Told twice, the second time there was nothing left to tell.
    assert.deepEqual(said, { due: 1, deleted: path === TELL && kind === 'drop_answer' ? 0 : 1, error: null }, `${path} ${kind}`)
    assert.deepEqual([await objects(ada), await due(ada)], [[], []], `${path} ${kind}`)
  }
  for (const [path, kind, more, problem] of [
    [STORAGE, 'status', { status: 500 }, /HTTP 500/],
    [STORAGE, 'offline', {}, /DELETE/],
    // A page of somebody on the way, and one that leads elsewhere.
    [STORAGE, 'status', { status: 200 }, /without the answer/],
    [STORAGE, 'status', { status: 302 }, /HTTP 302/],
    [TELL, 'status', { status: 503 }, /HTTP 503/],
  ]) {
    await setFault(backend.ready, null)
    const paths = await exports(ada, 1)
    await expire(paths)
    await setFault(backend.ready, { kind, path, ...more })
    const [said, asked] = await run()
    assert.deepEqual([said.due, said.deleted], [1, 0])
    assert.match(said.error, problem)
    assert.ok(asked.length <= 6, `${asked}`)
    assert.deepEqual(await due(ada), paths, 'it stays due')
    await setFault(backend.ready, null)
    assert.deepEqual(await deleteFiles(service()), { due: 1, deleted: 1, error: null })
    assert.deepEqual(await objects(ada), [])
  }
})

test('who has not the secret key reads nothing of it and deletes nothing', async () => {
  const ada = await signUp(backend.ready)
  const paths = await exports(ada, 1)
  await expire(paths)
  for (const key of [backend.ready.anon_key, backend.ready.publishable_key, ada.token, 'no key']) {
    const [said, asked] = await requestsOf(() => deleteFiles({ ...service(), key }))
    assert.match(said.error, /HTTP 40[134]/)
    assert.deepEqual([said.due, asked.length], [0, 1], 'once')
    const headers = { apikey: backend.ready.anon_key, authorization: `Bearer ${key}`, 'content-type': 'application/json' }
    const told = await fetch(`${backend.ready.url}${TELL}`, { method: 'POST', headers, body: JSON.stringify({ paths }) })
    assert.ok([401, 403, 404].includes(told.status), `${told.status}`)
  }
  assert.deepEqual([await objects(ada), await due(ada)], [paths, paths])
})

test('what is no file of an export is never asked of Storage', async () => {
  const id = randomUUID()
  for (const answer of [[`${id}/${id}/../x`], [`${id}/${id}/${'a'.repeat(64)}.csv`, `${id}/secret.csv`], [''], [null], { message: 'x' }, 5]) {
    const asked = []
    const server = createServer((request, response) => {
      asked.push(request.url)
      request.resume().on('end', () => response.setHeader('content-type', 'application/json').end(JSON.stringify(answer)))
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    const said = await deleteFiles({ url: `http://127.0.0.1:${server.address().port}`, key: 'k', firstWaitMs: 1 })
    server.close()
    assert.ok(said.error, JSON.stringify(answer))
    assert.ok(asked.every((url) => url === '/rest/v1/rpc/marea_files_to_delete'), `${asked}`)
  }
})

test('as an Edge Function it deletes in batches, for the secret key alone', async () => {
  const ada = await signUp(backend.ready)
  const paths = await exports(ada, 150)
  await expire(paths)
  const folder = mkdtempSync(join(tmpdir(), 'marea-function-'))
  const { code } = await transform(readFileSync(example('edge-function.ts'), 'utf8'), { loader: 'ts' })
  writeFileSync(join(folder, 'index.mjs'), code)
  cpSync(example('delete-files.mjs'), join(folder, 'delete-files.mjs'))
  const variables = { SUPABASE_URL: backend.ready.url, SUPABASE_SERVICE_ROLE_KEY: backend.ready.service_key }
  let handler
  globalThis.Deno = { serve: (given) => (handler = given), env: { get: (name) => variables[name] } }
  try {
    await import(pathToFileURL(join(folder, 'index.mjs')))
    const call = (key) => handler(new Request('https://x.test/', { method: 'POST', headers: { authorization: `Bearer ${key}` } }))
    for (const key of [backend.ready.anon_key, ada.token, '']) assert.equal((await call(key)).status, 401)
    assert.equal((await objects(ada)).length, 150)
    const [answer, asked] = await requestsOf(() => call(backend.ready.service_key))
    assert.deepEqual([answer.status, await answer.json()], [200, { due: 150, deleted: 150, error: null }])
    assert.equal(asked.filter((it) => it.startsWith('DELETE')).length, 2)
    assert.deepEqual(await objects(ada), [])
    await setFault(backend.ready, { kind: 'status', path: '/rest/v1/rpc/', status: 400 })
    assert.equal((await call(backend.ready.service_key)).status, 502)
  } finally {
    delete globalThis.Deno
    rmSync(folder, { recursive: true, force: true })
  }
})
