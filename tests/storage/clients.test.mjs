// Supabase's own client and the reference client of TUS drive the backend's /storage/v1, so that its routes are checked by
// something that is not ours.

import assert from 'node:assert/strict'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { request } from 'node:http'
import { after, before, test } from 'node:test'

import pg from 'pg'

import { setFault, signUp, startBackend } from '../browser/backend.mjs'
import { load } from './install.mjs'

const BUCKET = 'client-files'
const PIECE = 6 * 1024 * 1024

let backend, sql, StorageClient, tus

before(async () => {
  ;({ StorageClient } = await load('@supabase/storage-js'))
  tus = await load('tus-js-client')
  tus = tus.default ?? tus
  backend = await startBackend()
  sql = new pg.Client({ connectionString: backend.ready.database_url })
  await sql.connect()
  await sql.query(`
    INSERT INTO storage.buckets (id, name, file_size_limit, allowed_mime_types)
      VALUES ('${BUCKET}', '${BUCKET}', 20000000, ARRAY['text/*', 'application/octet-stream']);
    CREATE POLICY own_files ON storage.objects FOR SELECT TO authenticated
      USING (bucket_id = '${BUCKET}' AND (storage.foldername(name))[1] = auth.uid()::text);
    CREATE POLICY new_files ON storage.objects FOR INSERT TO authenticated
      WITH CHECK (bucket_id = '${BUCKET}' AND (storage.foldername(name))[1] = auth.uid()::text);
    CREATE POLICY old_files ON storage.objects FOR DELETE TO authenticated
      USING (bucket_id = '${BUCKET}' AND (storage.foldername(name))[1] = auth.uid()::text);`)
})

after(async () => {
  await sql?.end()
  await backend?.stop()
})

async function learner(bucket = BUCKET) {
  const user = await signUp(backend.ready)
  const headers = { apikey: backend.ready.anon_key, authorization: `Bearer ${user.token}` }
  const files = new StorageClient(`${backend.ready.url}/storage/v1`, headers).from(bucket)
  return { ...user, headers, files }
}

const sha = (bytes) => createHash('sha256').update(bytes).digest('hex')
const text = { contentType: 'text/csv' }

async function bytesOf({ data, error }) {
  assert.equal(error, null)
  return Buffer.from(await data.arrayBuffer())
}

test('an object goes up, is read, listed, linked and deleted', async () => {
  const ada = await learner()
  const path = `${ada.id}/folder/a file.csv`
  const bytes = randomBytes(100_000)
  for (const [name, body] of [[path, bytes], [`${ada.id}/form.csv`, new Blob([bytes], { type: 'text/csv' })]]) {
    const { data, error } = await ada.files.upload(name, body, text)
    assert.equal(error, null, name)
    assert.equal(data.path, name)
    assert.equal(sha(await bytesOf(await ada.files.download(name))), sha(bytes))
  }

  const again = await ada.files.upload(path, bytes, text)
  assert.equal(again.error.statusCode, '409')
  assert.equal(again.error.message, 'The resource already exists')

  const { data: info } = await ada.files.info(path)
  assert.equal(info.size, bytes.length)
  assert.deepEqual((await ada.files.exists(path)).data, true)
  const { data: listed } = await ada.files.list(ada.id)
  assert.deepEqual(listed.map((it) => [it.name, it.id === null]), [['folder', true], ['form.csv', false]])

  const { data: link } = await ada.files.createSignedUrl(path, 60)
  const opened = await fetch(link.signedUrl)
  assert.equal(sha(Buffer.from(await opened.arrayBuffer())), sha(bytes))
  const part = await fetch(link.signedUrl, { headers: { range: 'bytes=10-19' } })
  assert.equal(part.status, 206)
  assert.deepEqual(Buffer.from(await part.arrayBuffer()), bytes.subarray(10, 20))
  const forged = link.signedUrl.replace('a%20file', 'another').replace('a file', 'another')
  assert.equal((await (await fetch(forged)).json()).code, 'InvalidSignature')

  const { data: removed } = await ada.files.remove([path, `${ada.id}/nothing.csv`])
  assert.deepEqual(removed.map((it) => it.name), [path])
  assert.equal((await ada.files.download(path)).error.status ?? 400, 400)
})

test('nobody touches what is another user\'s, by whatever name', async () => {
  const [ada, eve] = [await learner(), await learner()]
  const path = `${ada.id}/secret.csv`
  assert.equal((await ada.files.upload(path, 'hers', text)).error, null)
  assert.notEqual((await eve.files.download(path)).error, null)
  assert.deepEqual((await eve.files.remove([path])).data, [])
  assert.deepEqual((await eve.files.list(ada.id)).data, [])
  assert.notEqual((await eve.files.createSignedUrl(path, 60)).error, null)
  assert.equal((await eve.files.upload(`${ada.id}/mine.csv`, 'x', text)).error.statusCode, '403')
  assert.notEqual((await eve.files.update(path, 'x', text)).error, null)

  const lookalike = ada.id.replace('0', '\uff10').replace('1', '\uff11').replace('a', '\u0430')
  for (const name of [
    `${eve.id}/../${ada.id}/secret.csv`, `${eve.id}/%2e%2e/${ada.id}/secret.csv`, `${eve.id}%2f..%2f${ada.id}/secret.csv`,
    `${ada.id}%2Fsecret.csv`, `${ada.id.toUpperCase()}/secret.csv`, `./${ada.id}/secret.csv`, `/${ada.id}/secret.csv`,
    `${ada.id}//secret.csv`, `${encodeURI(lookalike)}/secret.csv`, `${ada.id}/secret.csv%00`, `${ada.id}\\secret.csv`,
  ]) {
    for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
      const { status, body } = await raw(method, `/storage/v1/object/${BUCKET}/${name}`, eve.headers)
      assert.equal(status, 400, `${method} ${name}: ${body}`)
    }
  }
  assert.equal((await bytesOf(await ada.files.download(path))).toString(), 'hers')
})

test('in the bucket of exports nobody touches what is another user\'s, by any route or name', async () => {
  const exports = 'marea-exports'
  const [ada, eve] = [await learner(exports), await learner(exports)]
  const own = async (user, content) => {
    const call = { method: 'POST', headers: { ...user.headers, 'content-type': 'application/json', prefer: 'return=representation' } }
    const body = JSON.stringify({ user_id: user.id, export_type: 'x', export_format: 'csv' })
    const [{ id }] = await (await fetch(`${backend.ready.url}/rest/v1/export_history`, { ...call, body })).json()
    const path = `${user.id}/${id}/${sha(content)}.csv`
    assert.equal((await user.files.upload(path, content, text)).error, null)
    return path
  }
  const [hers, mine] = [await own(ada, 'hers'), await own(eve, 'mine')]
  const [, export_, file] = mine.split('/')
  const lookalike = hers.replace(/[0-9]/, (digit) => String.fromCharCode(0xff10 + Number(digit))).replace('a', '\u0430')
  const paths = [
    hers, hers.toUpperCase(), lookalike, encodeURI(lookalike), `/${hers}`, `./${hers}`, `${eve.id}/../${hers}`, `${eve.id}/${export_}/../../${hers}`,
    `${eve.id}/%2e%2e/${hers}`, hers.replaceAll('/', '%2f'), hers.replaceAll('/', '%252f'), `${eve.id}\\..\\${hers}`, `${hers}%00`,
    `${eve.id}/${hers.split('/')[1]}/${file}`, `${ada.id}/${export_}/${file}`,
  ]
  const tus = (objectName) => fetch(`${backend.ready.url}/storage/v1/upload/resumable`, {
    method: 'POST',
    headers: {
      ...eve.headers, 'tus-resumable': '1.0.0', 'upload-length': '4', 'x-upsert': 'true',
      'upload-metadata': `bucketName ${btoa(exports)},objectName ${Buffer.from(objectName).toString('base64')},contentType ${btoa('text/csv')}`,
    },
  })
  for (const path of paths) {
    assert.ok(![200, 201].includes((await tus(path)).status), `TUS ${path}`)
    if (/[^ -~]/.test(path)) continue
    for (const route of ['', 'authenticated/', 'info/authenticated/', 'sign/', 'public/', 'upload/sign/']) {
      for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE']) {
        const { status } = await raw(method, `/storage/v1/object/${route}${exports}/${path}`, { ...eve.headers, 'x-upsert': 'true' })
        assert.ok(status >= 400, `${method} ${route}${path}: ${status}`)
      }
    }
  }
  assert.deepEqual((await eve.files.remove(paths)).data, [])
  for (const folder of ['', ada.id, `${ada.id}/${hers.split('/')[1]}`, `${eve.id}/../${ada.id}`]) {
    const { data } = await eve.files.list(folder)
    assert.ok((data ?? []).every(({ name }) => name === eve.id), `${folder}: ${JSON.stringify(data)}`)
  }
  const { data: links } = await eve.files.createSignedUrls(paths, 60)
  assert.ok(links.every(({ signedUrl }) => !signedUrl), JSON.stringify(links))
  for (const call of ['move', 'copy']) {
    for (const [from, to] of [[hers, mine], [mine, hers], [hers, `${eve.id}/${export_}/${sha('hers')}.csv`]]) assert.notEqual((await eve.files[call](from, to)).error, null)
  }
  // Objects never change, one's own neither.
  assert.notEqual((await eve.files.update(mine, 'other', text)).error, null)
  for (const [user, path, content] of [[ada, hers, 'hers'], [eve, mine, 'mine']]) {
    assert.equal((await bytesOf(await user.files.download(path))).toString(), content)
    const { rows } = await sql.query('SELECT name FROM storage.objects WHERE bucket_id = $1 AND name LIKE $2', [exports, `${user.id}%`])
    assert.deepEqual(rows, [{ name: path }])
  }
})

/** A request whose path nobody tidies on the way. */
function raw(method, path, headers) {
  const { hostname, port } = new URL(backend.ready.url)
  return new Promise((resolve, reject) => {
    const options = { hostname, port, method, path, headers: { ...headers, 'content-type': 'text/csv' } }
    const call = request(options, (answer) => {
      let body = ''
      answer.setEncoding('utf8').on('data', (chunk) => (body += chunk))
      answer.on('end', () => resolve({ status: answer.statusCode, body }))
    })
    call.once('error', reject)
    call.end(method === 'GET' || method === 'DELETE' ? undefined : 'x')
  })
}

test('each refusal has its code in the body', async () => {
  const ada = await learner()
  const at = (path, init = {}) =>
    fetch(`${backend.ready.url}/storage/v1/object/${path}`, { method: 'POST', body: 'x', ...init }).then((it) => it.json())
  const headers = { ...ada.headers, 'content-type': 'text/csv' }
  for (const [code, statusCode, answer] of [
    ['NoSuchBucket', '404', await at(`nowhere/${ada.id}/a.csv`, { headers })],
    ['AccessDenied', '403', await at(`${BUCKET}/a.csv`, { headers })],
    ['AccessDenied', '403', await at(`${BUCKET}/a.csv`, { headers: { ...headers, authorization: 'Bearer x.y.z' } })],
    ['InvalidMimeType', '415', await at(`${BUCKET}/${ada.id}/a.png`, { headers: { ...headers, 'content-type': 'image/png' } })],
    ['EntityTooLarge', '413', await at(`${BUCKET}/${ada.id}/a.csv`, { headers, body: Buffer.alloc(20_000_001) })],
    ['NoSuchKey', '404', await at(`${BUCKET}/${ada.id}/none.csv`, { headers, method: 'GET', body: undefined })],
    ['InvalidRequest', '400', await at(`${BUCKET}/${ada.id}/a.csv`, { headers: { 'content-type': 'text/csv' } })],
  ]) {
    assert.deepEqual([answer.code, answer.statusCode], [code, statusCode], JSON.stringify(answer))
    assert.ok(answer.error && answer.message)
  }
})

function upload(user, bytes, path, options = {}) {
  return new Promise((resolve, reject) => {
    const up = new tus.Upload(bytes, {
      endpoint: `${backend.ready.url}/storage/v1/upload/resumable`,
      headers: user.headers,
      metadata: { bucketName: BUCKET, objectName: path, contentType: 'text/csv', cacheControl: '3600' },
      chunkSize: PIECE,
      retryDelays: [0, 10, 10, 10, 10],
      onError: reject,
      onSuccess: () => resolve(up),
      ...options,
    })
    up.start()
  })
}

test('the reference client uploads in pieces, through cuts and lost answers', async () => {
  const ada = await learner()
  const bytes = randomBytes(2 * PIECE + 12_345)
  for (const [index, kind] of [null, 'cut_request', 'drop_answer', 'reset_mid_body', 'offline'].entries()) {
    const path = `${ada.id}/${index}.csv`
    if (kind) await setFault(backend.ready, { kind, path: '/storage/v1/upload/resumable/', times: 2 })
    await upload(ada, bytes, path)
    await setFault(backend.ready, null)
    assert.equal(sha(await bytesOf(await ada.files.download(path))), sha(bytes), `${kind}`)
  }
  await upload(ada, bytes, `${ada.id}/whole.csv`, { chunkSize: Infinity, uploadDataDuringCreation: true })
  assert.equal(sha(await bytesOf(await ada.files.download(`${ada.id}/whole.csv`))), sha(bytes))
})

test('an upload is refused where an object would be, and its address ends', async () => {
  const [ada, eve] = [await learner(), await learner()]
  const bytes = randomBytes(1000)
  const status = (promise) => promise.then(() => 200, (error) => error.originalResponse?.getStatus())
  assert.equal(await status(upload(eve, bytes, `${ada.id}/a.csv`, { retryDelays: [] })), 403)
  assert.equal(await status(upload(ada, Buffer.alloc(20_000_001), `${ada.id}/a.csv`, { retryDelays: [] })), 413)
  await upload(ada, bytes, `${ada.id}/a.csv`)
  assert.equal(await status(upload(ada, bytes, `${ada.id}/a.csv`, { retryDelays: [] })), 409)

  const begun = await fetch(`${backend.ready.url}/storage/v1/upload/resumable`, {
    method: 'POST',
    headers: {
      ...ada.headers, 'tus-resumable': '1.0.0', 'upload-length': '1000',
      'upload-metadata': `bucketName ${btoa(BUCKET)},objectName ${btoa(`${ada.id}/b.csv`)},contentType ${btoa('text/csv')}`,
    },
  })
  assert.equal(begun.status, 201)
  const address = begun.headers.get('location')
  const head = () => fetch(address, { method: 'HEAD', headers: { ...ada.headers, 'tus-resumable': '1.0.0' } })
  assert.equal((await head()).headers.get('upload-offset'), '0')
  // Another user who learns the address writes nothing there.
  const patch = (user) => fetch(address, {
    method: 'PATCH', body: bytes,
    headers: { ...user.headers, 'tus-resumable': '1.0.0', 'upload-offset': '0', 'content-type': 'application/offset+octet-stream' },
  })
  assert.equal((await patch(eve)).status, 403)
  assert.equal((await head()).headers.get('upload-offset'), '0')
  await sql.query(`UPDATE marea_backend.uploads SET expires_at = now() WHERE name = '${ada.id}/b.csv'`)
  assert.equal((await head()).status, 410)
  const strange = `${backend.ready.url}/storage/v1/upload/resumable/${btoa(`${BUCKET}/${ada.id}/b.csv/${randomUUID()}`)}`
  assert.equal((await fetch(strange, { method: 'HEAD' })).status, 404)
})
