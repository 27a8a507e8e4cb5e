// Files of exports: kept on the device, uploaded beside the sync, read back, gone when due; through cuts, two tabs, full devices. What else
// breaks is in files-trouble.test.mjs, and kills are in files-killed.test.mjs.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { bytesOf, create, files, filesOf, kept as keptIn, PIECE, read, sha256, stateOf, until } from './file-stage.mjs'
import { browserTest, openMarea, record, startBrowser, startStage, status, sync, waitFor, waitUntilSent } from './harness.mjs'
import { leadingPage, openTabs, takeOver } from './tabs.mjs'

let stage, browser, objects
before(async () => {
  stage = await startStage()
  objects = filesOf(stage)
  browser = await startBrowser(stage, { plain: true })
})

/** The names of the bytes that lie on the device. */
const kept = (page, learner) => browser.filesOf?.(learner) ?? keptIn(page, learner)

test('a file that is made offline waits on the device, arrives, and is read on another device', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { online: false })
  for (const [seed, size] of [0, 10, PIECE, PIECE + 1, 2 * PIECE + 5].entries()) {
    const bytes = bytesOf(size, seed)
    const id = await create(page, size, seed)
    assert.equal(await stateOf(page, id), 'waiting')
    assert.deepEqual(await read(page, id), { size, type: 'application/zip', sha256: sha256(bytes) })
    assert.equal((await kept(page, learner)).filter((name) => name === `${id}.${sha256(bytes)}.zip`).length, 1)
    await page.evaluate(() => window.marea.setOnline(true))
    await until(page, id, 'uploaded')
    await waitUntilSent(page)
    await page.evaluate(() => window.marea.setOnline(false))
    const path = `${learner.id}/${id}/${sha256(bytes)}.zip`
    assert.deepEqual((await objects(learner)).find(({ name }) => name === path)?.size, size)
    const { rows } = await stage.database.query('SELECT file_url, status FROM public.export_history WHERE id = $1', [id])
    assert.deepEqual(rows, [{ file_url: `storage://marea-exports/${path}`, status: 'completed' }])
  }
  assert.equal((await objects(learner)).length, 5, 'each once')
  const { files: told } = await status(page)
  const all = 10 + PIECE + (PIECE + 1) + (2 * PIECE + 5)
  assert.deepEqual(told, { waiting: 0, bytes_waiting: 0, uploaded: 5, refused: 0, bytes_on_device: all, current: undefined })

  const other = await browser.newPage(t)
  await page.evaluate(() => window.marea.erase())
  await openMarea(other, stage, learner)
  await sync(other)
  assert.deepEqual(await kept(other, learner), [])
  for (const { name, size } of await objects(learner)) {
    const [, id, file] = name.split('/')
    const found = await read(other, id)
    assert.deepEqual([found.size, `${found.sha256}.zip`], [size, file])
    const link = await other.evaluate((id) => window.marea.exportUrl(id, { expiresIn: 60 }), id)
    assert.equal(sha256(Buffer.from(await (await fetch(link)).arrayBuffer())), found.sha256)
  }
  assert.deepEqual([...page.problems, ...other.problems], [])
})

browserTest('a follower\'s file goes to the leader, and on when either of them is killed', async (t) => {
  const learner = await stage.signUp()
  const tabs = await openTabs(t, browser, stage, learner, 2)
  const leader = await waitFor('a leader', () => leadingPage(tabs), (page) => page !== null)
  const follower = tabs.find((page) => page !== leader)
  const size = 3 * PIECE
  // The answer to the second piece is lost, and with it the leader.
  await stage.fault({ kind: 'drop_answer', path: '/storage/v1/upload/resumable/', times: 3 })
  const id = await create(follower, size, 3)
  assert.deepEqual(await read(follower, id), { size, type: 'application/zip', sha256: sha256(bytesOf(size, 3)) })
  await until(follower, id, 'uploading')
  await takeOver.killed(browser, leader)
  await stage.clearFaults()
  await until(follower, id, 'uploaded')
  await waitUntilSent(follower)
  assert.deepEqual((await objects(learner)).map((it) => it.size), [size])

  // A follower that is killed has left its bytes with the leader, or has promised nothing.
  const other = await browser.newPage(t)
  await openMarea(other, stage, learner)
  const second = await create(other, 1000, 4)
  await takeOver.killed(browser, other)
  await until(follower, second, 'uploaded')
  assert.equal((await objects(learner)).length, 2)
})

test('there is room for what the app allows, and what finds none says so by name', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { files: { quotaBytes: 100_000 }, online: false })
  const failure = (size) =>
    page.evaluate(async (size) => {
      try {
        await window.marea.createExport({ export_type: 'x', export_format: 'bin', file: new Uint8Array(size) })
      } catch ({ name, code, exportId }) {
        return { name, code, exportId }
      }
    }, size)
  const first = await create(page, 60_000)
  const refused = await failure(60_000)
  assert.deepEqual([refused.name, refused.code], ['MareaError', 'storage_full'])
  const recorded = await page.evaluate((id) => window.marea.export(id), refused.exportId)
  assert.equal(recorded.status, 'pending')
  assert.equal(await stateOf(page, refused.exportId), 'refused')
  assert.equal((await kept(page, learner)).length, 1)
  // Uploaded ones make room.
  await page.evaluate(() => window.marea.setOnline(true))
  await until(page, first, 'uploaded')
  await page.evaluate((id) => window.marea.attachFile(id, new Uint8Array(60_000)), refused.exportId)
  await until(page, refused.exportId, 'uploaded')
  assert.deepEqual((await kept(page, learner)).map((name) => name.split('.')[0]), [refused.exportId])
  assert.equal((await read(page, first)).size, 60_000, 'fetched')
})

browserTest('where there is no file system the export is recorded, and the error says that its file is not', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  const device = await browser.newPage(t)
  await openMarea(device, stage, learner)
  const there = await create(device, 5_000, 9)
  await until(device, there, 'uploaded')
  await waitUntilSent(device)
  await device.evaluate(() => window.marea.close())
  for (const storage of ['memory', 'local-storage']) {
    await page.evaluate(() => localStorage.clear())
    await openMarea(page, stage, learner, { storage })
    const error = await page.evaluate(async () => {
      try {
        await window.marea.createExport({ export_type: 'x', export_format: 'bin', file: new Blob(['abc']) })
      } catch ({ name, code, exportId }) {
        return { name, code, exportId }
      }
    })
    assert.deepEqual([error.name, error.code], ['MareaError', 'files_unavailable'])
    await waitUntilSent(page)
    const { rows } = await stage.database.query('SELECT 1 FROM public.export_history WHERE id = $1', [error.exportId])
    assert.equal(rows.length, 1)
    await sync(page)
    assert.equal((await read(page, there)).sha256, sha256(bytesOf(5_000, 9)), 'what is at the server can be read')
    await page.evaluate(() => window.marea.close())
  }
})

test('deleted while it uploads, held back, given up: nothing of it stays', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  await stage.fault({ kind: 'status', path: '/storage/v1/upload/resumable/', status: 503, times: 1_000 })
  const deleted = await create(page, 2 * PIECE, 5)
  await until(page, deleted, 'uploading')
  await page.evaluate((id) => window.marea.deleteExport(id), deleted)
  await waitUntilSent(page)
  await until(page, deleted, undefined)
  await stage.clearFaults()
  const held = await page.evaluate(async () => {
    await window.marea.setOnline(false)
    const { id } = await window.marea.createExport({ export_type: 'x', export_format: 'bin', file: new Blob(['abc']) })
    await window.marea.pauseFile(id)
    await window.marea.setOnline(true)
    return id
  })
  await waitUntilSent(page)
  await sync(page)
  assert.deepEqual((await files(page)).map(({ state, paused }) => [state, paused]), [['waiting', true]])
  await page.evaluate((id) => window.marea.pauseFile(id, false), held)
  await until(page, held, 'uploaded')
  await page.evaluate((id) => window.marea.cancelFile(id), held)
  await until(page, held, undefined)
  await waitFor('no object', () => objects(learner), (found) => found.length === 0)
  assert.deepEqual(await kept(page, learner), [])
})

test('what the server refuses is said by name, and what it only lacks is waited for', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  const bucket = (change) => stage.database.query(`UPDATE storage.buckets SET ${change} WHERE id = 'marea-exports'`)
  const errorOf = (id, code) =>
    waitFor(code, () => files(page), (seen) => seen.find((file) => file.export_id === id)?.last_error?.code === code)
  t.after(() => bucket('file_size_limit = NULL, allowed_mime_types = NULL'))
  await bucket('file_size_limit = 1000')
  const small = await create(page, 1001)
  await errorOf(small, 'file_too_large')
  assert.equal(await stateOf(page, small), 'refused')
  await bucket(`file_size_limit = NULL, allowed_mime_types = ARRAY['text/csv']`)
  const wrong = await create(page, 10)
  await errorOf(wrong, 'file_type_refused')
  await bucket('allowed_mime_types = NULL')
  for (const id of [small, wrong]) {
    await page.evaluate((id) => window.marea.retryFile(id), id)
    await until(page, id, 'uploaded')
  }
  // Other files, and the sync, go on beside one that waits.
  await stage.fault({ kind: 'status', path: '/storage/v1/object', status: 503, times: 1_000 })
  const waiting = await create(page, 10, 7)
  await errorOf(waiting, 'server_failed')
  await record(page)
  await waitUntilSent(page)
  await stage.clearFaults()
  await page.evaluate((id) => window.marea.retryFile(id), waiting)
  await until(page, waiting, 'uploaded')
})

browserTest('a full device, an expired token, another user\'s token, an erased mirror', async (t) => {
  const [learner, other] = [await stage.signUp(), await stage.signUp()]
  const page = await browser.newPage(t)
  const errorOf = (id, code) =>
    waitFor(code, () => files(page), (seen) => seen.find((file) => file.export_id === id)?.last_error?.code === code)
  await openMarea(page, stage, learner, { online: false })
  const devtools = await browser.context.newCDPSession(page)
  const { origin } = new URL(page.url())
  await devtools.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 8 << 20 })
  const failure = await page.evaluate(async (size) => {
    try {
      await window.marea.createExport({ export_type: 'x', export_format: 'bin', file: new Uint8Array(size) })
    } catch ({ code, exportId }) {
      return { code, exportId }
    }
  }, 20 << 20)
  assert.equal(failure.code, 'storage_full')
  assert.equal((await page.evaluate((id) => window.marea.export(id), failure.exportId)).status, 'pending')
  assert.deepEqual(await kept(page, learner), [])
  await devtools.send('Storage.overrideQuotaForOrigin', { origin })

  const id = await create(page, 3_000, 2)
  const [, payload] = learner.token.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url'))
  // A token that nobody signed, of the right user, and then a fresh one.
  const bad = `${learner.token.split('.')[0]}.${Buffer.from(JSON.stringify({ ...claims, exp: 1 })).toString('base64url')}.x`
  await page.evaluate((token) => void (window.tokens.now = token), other.token)
  await page.evaluate(() => window.marea.setOnline(true))
  await sync(page)
  assert.equal((await objects(other)).length, 0)
  await page.evaluate(([bad, good]) => void Object.assign(window.tokens, { now: bad, fresh: good }), [bad, learner.token])
  await page.evaluate(() => window.marea.tokenChanged())
  await waitUntilSent(page)
  await until(page, id, 'uploaded')
  assert.equal((await objects(learner)).length, 1)

  // The export that found no room gets its file, and another user's token is sent nowhere with it.
  await page.evaluate((token) => void Object.assign(window.tokens, { now: token, fresh: token }), other.token)
  await page.evaluate((id) => window.marea.attachFile(id, new Uint8Array(10)), failure.exportId)
  await errorOf(failure.exportId, 'other_user')
  assert.deepEqual([(await objects(learner)).length, (await objects(other)).length], [1, 0])
  await page.evaluate(() => window.marea.erase())
  assert.deepEqual(await kept(page, learner), [])
})

test('what is no file, and a file that is not there, is refused by name', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { online: false })
  const refused = (call) => page.evaluate((call) => window.failureOf(() => new Function('marea', `return ${call}`)(window.marea)), call)
  const none = '00000000-0000-4000-8000-000000000000'
  for (const [call, message] of [
    [`marea.createExport({ export_type: 'x', export_format: 'csv', file: 'a,b' })`, /^file: expected a Blob or a Uint8Array, got string/],
    [`marea.createExport({ export_type: 'x', export_format: 'csv', file: {} })`, /^file: expected a Blob or a Uint8Array, got object/],
    [`marea.createExport({ export_type: '', export_format: 'csv', file: new Blob(['a']) })`, /^export_type/],
    [`marea.createExport({ export_format: 'csv', file: new Blob(['a']) })`, /export_type/],
    [`marea.createExport({ export_type: 'x', export_format: 'csv', name: 'y', file: new Blob(['a']) })`, /name/],
    [`marea.attachFile('${none}', new Blob(['a']))`, /no such export/],
    [`marea.exportFile('${none}')`, /no such export/],
    [`marea.exportFile('x')`, /^id: expected a UUID/],
    [`marea.exportUrl('${none}', { expiresIn: 'soon' })`, /^expiresIn: expected an integer/],
    [`marea.exportUrl('${none}', { expiresIn: 0 })`, /^expiresIn: expected 1 or more, got 0$/],
    [`marea.exportUrl('${none}', { expiresIn: -5 })`, /^expiresIn: expected 1 or more, got -5$/],
    [`marea.pauseFile('${none}')`, /no file of such an export/],
  ]) {
    const error = await refused(call)
    assert.deepEqual([error?.name, error?.code], ['MareaError', 'invalid_input'], `${call}: ${JSON.stringify(error)}`)
    assert.match(error.message, message, call)
  }
  assert.deepEqual([await kept(page, learner), await files(page)], [[], []])
  const { id } = await page.evaluate(() => window.marea.createExport({ export_type: 'x', export_format: 'csv' }))
  assert.match((await refused(`marea.exportFile('${id}')`)).message, /has no file/)
  assert.equal((await status(page)).pending, 1)
})

browserTest('when a mirror is opened, bytes without a row go and rows without bytes say so', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { online: false })
  const [lost, whole] = [await create(page, 1_000, 1), await create(page, 2_000, 2)]
  await page.evaluate(() => window.marea.close())
  await page.evaluate(
    async ([user, lost]) => {
      const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('.marea')
      const folder = await root.getDirectoryHandle(`${user}.files`)
      for await (const name of folder.keys()) if (name.startsWith(lost)) await folder.removeEntry(name)
      await folder.getFileHandle(`${lost}.left-over`, { create: true })
    },
    [learner.id, lost],
  )
  await openMarea(page, stage, learner, { online: false })
  await until(page, lost, 'refused')
  const [told, other] = await files(page)
  assert.deepEqual([told.last_error.code, told.on_device, other.state, other.on_device], ['file_missing', false, 'waiting', true])
  assert.deepEqual((await kept(page, learner)).map((name) => name.split('.')[0]), [whole])
  const refused = await page.evaluate((id) => window.failureOf(() => window.marea.retryFile(id)), lost)
  assert.match(refused.message, /attach/)
  await page.evaluate((id) => window.marea.attachFile(id, new Uint8Array(5)), lost)
  await page.evaluate(() => window.marea.setOnline(true))
  for (const id of [lost, whole]) await until(page, id, 'uploaded')
})
