// Files of exports where something is missing or changes in the middle: the bucket, the token, the user, the page in front; cuts in
// every piece, two devices with one export, and addresses that lead elsewhere.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { before, beforeEach, test } from 'node:test'
import { bytesOf, create, files, filesOf, kept, PIECE, read, sha256, stateOf, until } from './file-stage.mjs'
import { openMarea, startBrowser, startStage, status, sync, waitFor, waitUntilSent } from './harness.mjs'

const OBJECTS = '/storage/v1/object'
const UPLOADS = '/storage/v1/upload/resumable/'

let stage, browser, elsewhere, objects
before(async () => {
  stage = await startStage()
  objects = filesOf(stage)
  browser = await startBrowser(stage, { plain: true })
  elsewhere = await startBrowser(stage, { plain: true })
})
beforeEach(() => stage.clearFaults())

const errorOf = (page, id, code) =>
  waitFor(code, () => files(page), (seen) => seen.find((file) => file.export_id === id)?.last_error?.code === code)
const setTokens = (page, tokens) => page.evaluate((tokens) => void Object.assign(window.tokens, tokens), tokens)
const setOnline = (page, online) => page.evaluate((online) => window.marea.setOnline(online), online)
const sentOf = async (page, id) => (await files(page)).find((file) => file.export_id === id)?.sent ?? 0

/** The learner's token with another end, signed with the project's older secret. */
function tokenUntil(learner, exp) {
  const claims = { ...JSON.parse(Buffer.from(learner.token.split('.')[1], 'base64url')), exp }
  const said = [{ alg: 'HS256', typ: 'JWT' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${said}.${createHmac('sha256', stage.backend.jwt_secret).update(said).digest('base64url')}`
}

test('without a bucket a file waits and says why, and goes once there is one', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  const away = `BEGIN; SELECT set_config('storage.allow_delete_query', 'true', true); DELETE FROM storage.buckets WHERE id = 'marea-exports'; COMMIT`
  await stage.database.query(away)
  await openMarea(page, stage, learner)
  const ids = [await create(page, 10, 1), await create(page, 2 * PIECE, 2)]
  await errorOf(page, ids[0], 'bucket_missing')
  await waitUntilSent(page)
  assert.equal(await stateOf(page, ids[0]), 'waiting')
  const { rows } = await stage.database.query('SELECT id FROM public.export_history WHERE user_id = $1', [learner.id])
  assert.equal(rows.length, 2, 'the exports themselves are there')
  await stage.database.query('SELECT marea.prepare_files()')
  for (const id of ids) await page.evaluate((id) => window.marea.retryFile(id), id)
  for (const id of ids) await until(page, id, 'uploaded')
  assert.deepEqual((await objects(learner)).map(({ size }) => size).sort((a, b) => a - b), [10, 2 * PIECE])
})

test('a server that is full, and a network that answers for it, make a file wait and say which it was', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  await stage.fault({ kind: 'status', path: OBJECTS, status: 507 })
  const id = await create(page, 10, 11)
  await errorOf(page, id, 'server_full')
  for (const [status, code] of [[413, 'proxy_too_large'], [302, 'refused'], [200, 'unintelligible_answer']]) {
    await stage.clearFaults()
    await stage.fault({ kind: 'status', path: OBJECTS, status })
    await page.evaluate((id) => window.marea.retryFile(id), id)
    await errorOf(page, id, code)
  }
  assert.equal(await stateOf(page, id), 'waiting')
  assert.equal((await objects(learner)).length, 0)
  await stage.clearFaults()
  await page.evaluate((id) => window.marea.retryFile(id), id)
  await until(page, id, 'uploaded')
  assert.deepEqual((await objects(learner)).map((it) => it.size), [10])
})

// It was read as a number alone, and the file was tried again within a second.
test('a server that says until when a file is to wait, as a date, is left alone until then', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  await waitUntilSent(page)
  const tries = []
  await page.route(`**${OBJECTS}/**`, (route) => {
    if (route.request().method() === 'OPTIONS') return route.continue()
    tries.push(Date.now())
    if (tries.length > 1) return route.continue()
    // By the server's clock, which is years behind.
    const dates = { date: 'Sun, 15 Jun 2025 15:00:00 GMT', 'retry-after': 'Sun, 15 Jun 2025 15:00:03 GMT' }
    const readable = { 'access-control-allow-origin': '*', 'access-control-expose-headers': 'Retry-After, Date' }
    return route.fulfill({ status: 503, headers: { ...readable, ...dates }, body: '' })
  })
  await until(page, await create(page, 10, 13), 'uploaded')
  assert.equal(tries.length, 2)
  assert.ok(tries[1] - tries[0] >= 3_000, `tried again after ${tries[1] - tries[0]} ms`)
})

test('a file arrives whatever its name: with an ending that is one, else with that of the export\'s format', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  for (const [name, ending] of [['none', 'zip'], ['\u{1f4f7} fotos.JPG', 'jpg'], ['archive.tar.backup-2026', 'zip'], ['\u00e9t\u00e9.c\u00e9v', 'zip'], ['two words.csv', 'csv']]) {
    const id = await page.evaluate(
      async (name) => (await window.marea.createExport({ export_type: 'x', export_format: 'zip', file: new File([name], name) })).id,
      name,
    )
    await until(page, id, 'uploaded')
    const there = (await objects(learner)).filter((it) => it.name.includes(id))
    assert.deepEqual(there.map((it) => it.name), [`${learner.id}/${id}/${sha256(Buffer.from(name))}.${ending}`])
  }
})

test('a file that is given up is named by no row, and cannot be attached again before it is deleted', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  const id = await create(page, 10, 12)
  await until(page, id, 'uploaded')
  await waitUntilSent(page)
  await setOnline(page, false)
  const attach = () => page.evaluate((id) => window.failureOf(() => window.marea.attachFile(id, new Uint8Array(10))), id)
  await page.evaluate((id) => window.marea.cancelFile(id), id)
  const failure = await attach()
  assert.deepEqual([failure?.code, failure?.retry], ['file_leaving', true])
  await setOnline(page, true)
  await waitFor('the deletion', () => files(page), (seen) => seen.length === 0)
  await waitUntilSent(page)
  const { rows } = await stage.database.query('SELECT file_url FROM public.export_history WHERE id = $1', [id])
  assert.deepEqual([rows[0].file_url, (await objects(learner)).length], [null, 0])
  assert.equal(await attach(), null)
  await until(page, id, 'uploaded')
  assert.equal((await objects(learner)).length, 1)
})

test('each piece is cut in the middle, and the file arrives whole', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  // Of two calls one breaks off: each piece, and what asks how much of it has come.
  await stage.fault({ kind: 'cut_request', path: UPLOADS, every: 2 })
  const size = 3 * PIECE + 5
  const id = await create(page, size, 3)
  const up = async () => {
    await page.evaluate((id) => window.marea.retryFile(id).catch(() => undefined), id)
    return stateOf(page, id)
  }
  await waitFor('the file uploaded', up, (seen) => seen === 'uploaded')
  assert.ok((await stage.faultsFired()) >= 3)
  assert.deepEqual((await objects(learner)).map((it) => it.size), [size])
  const device = await elsewhere.newPage(t)
  await openMarea(device, stage, learner)
  await sync(page)
  await sync(device)
  assert.equal((await read(device, id)).sha256, sha256(bytesOf(size, 3)))
})

test('a token that ends in the middle is renewed, and the upload goes on where it was', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  await waitUntilSent(page)
  await stage.fault({ kind: 'delay', path: UPLOADS, delay_ms: 400 })
  const id = await create(page, 4 * PIECE, 4)
  await waitFor('the first piece', () => sentOf(page, id), (sent) => sent >= PIECE)
  const ended = tokenUntil(learner, 1_700_000_000)
  await setTokens(page, { now: ended, fresh: learner.token })
  const before = await sentOf(page, id)
  await until(page, id, 'uploaded')
  assert.ok(before > 0 && before < 4 * PIECE, 'it was in the middle')
  assert.deepEqual((await objects(learner)).map((it) => it.size), [4 * PIECE])
  assert.equal((await read(page, id)).sha256, sha256(bytesOf(4 * PIECE, 4)))
})

test('another user who signs in in the middle sends nothing of it, and it goes on when the first is back', async (t) => {
  const [learner, other] = [await stage.signUp(), await stage.signUp()]
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  await stage.fault({ kind: 'delay', path: UPLOADS, delay_ms: 400 })
  const id = await create(page, 3 * PIECE, 5)
  await waitFor('the first piece', () => sentOf(page, id), (sent) => sent >= PIECE)
  await page.evaluate(() => window.marea.close())
  await openMarea(page, stage, other)
  const theirs = await create(page, 100, 6)
  await until(page, theirs, 'uploaded')
  assert.deepEqual((await files(page)).map((file) => file.export_id), [theirs])
  assert.deepEqual([(await objects(learner)).length, (await objects(other)).length], [0, 1])
  await stage.clearFaults()
  await page.evaluate(() => window.marea.close())
  await openMarea(page, stage, learner)
  await until(page, id, 'uploaded')
  assert.deepEqual((await objects(learner)).map(({ name }) => name), [`${learner.id}/${id}/${sha256(bytesOf(3 * PIECE, 5))}.zip`])
  assert.equal((await objects(other)).length, 1)
})

test('a page that nobody looks at goes on uploading', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { online: false })
  const id = await create(page, 2 * PIECE, 7)
  const front = await browser.newPage(t)
  await front.bringToFront()
  assert.equal(await page.evaluate(() => document.visibilityState), 'hidden')
  await setOnline(page, true)
  await until(page, id, 'uploaded')
  assert.equal(await page.evaluate(() => document.visibilityState), 'hidden')
  assert.deepEqual((await objects(learner)).map((it) => it.size), [2 * PIECE])
})

test('two devices give one export a file: the same one lies there once, and of two both read the one that its row names', async (t) => {
  const learner = await stage.signUp()
  const [one, two] = [await browser.newPage(t), await elsewhere.newPage(t)]
  for (const page of [one, two]) await openMarea(page, stage, learner)
  const attach = (page, id, seed) =>
    page.evaluate(([id, bytes]) => window.marea.attachFile(id, new Blob([new Uint8Array(bytes)], { type: 'text/csv' })), [id, [...bytesOf(500, seed)]])
  for (const { first, second, inTurn } of [{ first: 1, second: 1 }, { first: 2, second: 3 }, { first: 4, second: 5, inTurn: true }]) {
    const { id } = await one.evaluate(() => window.marea.createExport({ export_type: 'x', export_format: 'csv' }))
    await waitUntilSent(one)
    await sync(two)
    for (const page of [one, two]) await setOnline(page, false)
    await attach(one, id, first)
    await attach(two, id, second)
    for (const page of [one, two]) {
      await setOnline(page, true)
      if (inTurn) await until(page, id, 'uploaded')
      if (inTurn) await waitUntilSent(page)
    }
    for (const page of [one, two]) await until(page, id, 'uploaded')
    for (const page of [one, two, one]) {
      await waitUntilSent(page)
      await sync(page)
    }
    const there = (await objects(learner)).filter(({ name }) => name.includes(id))
    assert.equal(there.length, new Set([first, second]).size)
    const { rows } = await stage.database.query('SELECT file_url FROM public.export_history WHERE id = $1', [id])
    const named = /([0-9a-f]{64})\.csv$/.exec(rows[0].file_url)[1]
    assert.ok([first, second].some((seed) => sha256(bytesOf(500, seed)) === named), rows[0].file_url)
    for (const page of [one, two]) assert.equal((await read(page, id)).sha256, named)
    // What its row does not name any more is due to be deleted. Of two at once the row may have named but one.
    const due = await stage.database.query('SELECT path FROM marea.file_garbage WHERE path LIKE $1', [`%${id}%`])
    assert.ok(due.rows.every(({ path }) => !path.includes(named)), 'what the row names stays')
    if (inTurn) assert.equal(due.rows.length, 1)
  }
})

test('an address that somebody wrote into an own export leads to nobody else\'s file', async (t) => {
  const [ada, eve] = [await stage.signUp(), await stage.signUp()]
  const [hers, page] = [await browser.newPage(t), await elsewhere.newPage(t)]
  await openMarea(hers, stage, ada)
  await openMarea(page, stage, eve)
  const secret = await create(hers, 300, 8)
  await until(hers, secret, 'uploaded')
  await waitUntilSent(hers)
  const [{ name }] = await objects(ada)
  const { id } = await page.evaluate(() => window.marea.createExport({ export_type: 'x', export_format: 'zip' }))
  const file = name.split('/').pop()
  const lookalike = ada.id.replace(/[0-9]/, (digit) => String.fromCharCode(0xff10 + Number(digit)))
  for (const path of [
    name, `${eve.id}/${id}/../../${name}`, `${eve.id}/${id}/%2e%2e/%2e%2e/${name}`, name.replaceAll('/', '%2f'), name.toUpperCase(),
    `${lookalike}/${secret}/${file}`, `/${name}`, `${eve.id}/${secret}/${file}`, `${eve.id}\\..\\${name}`, `${eve.id}/${id}/${file}/../../../${name}`,
  ]) {
    const said = await page.evaluate(
      async ([id, file_url]) => {
        const outcomes = []
        try {
          await window.marea.updateExport(id, { file_url, status: 'completed' })
        } catch ({ code }) {
          return [code]
        }
        for (const call of [() => window.marea.exportFile(id), () => window.marea.exportUrl(id, { expiresIn: 60 })]) {
          outcomes.push(await call().then(() => 'given', ({ code }) => code))
        }
        return outcomes
      },
      [id, `storage://marea-exports/${path}`],
    )
    assert.ok(!said.includes('given') && said.every((code) => ['invalid_input', 'file_missing', 'not_found'].includes(code)), `${path}: ${said}`)
    await sync(page)
    await waitUntilSent(page)
  }
  await page.evaluate((id) => window.marea.deleteExport(id), id)
  await waitUntilSent(page)
  await sync(page)
  const due = await stage.database.query('SELECT path FROM marea.file_garbage WHERE path LIKE $1', [`${ada.id}/%`])
  assert.deepEqual(due.rows, [])
  assert.deepEqual((await objects(ada)).map((it) => it.name), [name])
  assert.equal((await read(hers, secret)).sha256, sha256(bytesOf(300, 8)))
  assert.deepEqual(await kept(page, eve), [])
  assert.equal((await status(page)).rejected, 0)
})
