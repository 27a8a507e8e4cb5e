// From the browser to Postgres and back, while the network, the server, the token and the browser itself fail.
//
// What a test asserts about Postgres, it reads from Postgres.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { afterEach, before, test } from 'node:test'
import {
  assertArrived,
  inPostgres,
  load,
  openMarea,
  progress,
  record,
  startBrowser,
  startStage,
  status,
  sync,
  waitFor,
  waitUntilSent,
} from './harness.mjs'

const SYNC = '/rest/v1/rpc/marea_sync'

let stage, browser
before(async () => {
  stage = await startStage()
  browser = await startBrowser(stage)
})
afterEach(async () => {
  await stage.clearFaults()
  await browser.context.setOffline(false)
})

/** A token as the gateway would give out, that ends at this moment plus `seconds`. */
function mint(learner, seconds) {
  const now = Math.floor(Date.now() / 1000)
  const claims = { sub: learner.id, role: 'authenticated', aud: 'authenticated', iat: now - 3600, exp: now + seconds }
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`
  return `${text}.${createHmac('sha256', stage.backend.jwt_secret).update(text).digest('base64url')}`
}

const waitForStatus = (page, what, accept) => waitFor(what, () => status(page), accept)

test('a recorded session reaches Postgres by itself', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  const { id } = await record(page)
  await waitUntilSent(page)
  await assertArrived(stage, learner, [id])
  assert.equal((await progress(page)).total_sessions, 1)
  assert.deepEqual(page.problems, [])
})

test('what another device did arrives with the next sync', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  await waitUntilSent(page)
  // Plain SQL, as the app's own server code writes it.
  await stage.database.query(
    `INSERT INTO public.sessions (user_id, session_type, started_at, ended_at, duration_minutes, qa_attempts, qa_correct)
     VALUES ($1, 'qa', now() - interval '5 minutes', now(), 5, 4, 2)`,
    [learner.id],
  )
  const report = await sync(page)
  assert.equal(report.outcome, 'done')
  const seen = await progress(page)
  assert.deepEqual([seen.total_sessions, seen.total_time_spent_minutes, seen.average_accuracy], [1, 5, 50])
})

test('offline is a state, not an error; what was recorded arrives once when the network is back', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  await waitUntilSent(page)

  await browser.context.setOffline(true)
  await stage.fault({ kind: 'offline' })
  const ids = [(await record(page)).id, (await record(page)).id]
  const report = await sync(page)
  assert.equal(report.outcome, 'offline')
  const away = await waitForStatus(page, 'to be offline', (seen) => seen.connection === 'offline' && !seen.syncing)
  assert.equal(away.pending, 2)
  assert.equal((await progress(page)).total_sessions, 2)
  assert.deepEqual(page.problems, [])
  assert.deepEqual((await inPostgres(stage, learner)).ids, [])

  await stage.clearFaults()
  await browser.context.setOffline(false)
  const back = await waitUntilSent(page)
  assert.equal(back.last_error ?? null, null)
  await assertArrived(stage, learner, ids)
})

test('in airplane mode nothing is sent, not even on demand; afterwards everything, once', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { online: false })
  let requests = 0
  page.on('request', (request) => {
    if (request.url().includes(SYNC)) requests++
  })
  const { id } = await record(page)
  const report = await sync(page)
  assert.deepEqual([report.outcome, report.pending], ['offline', 1])
  assert.equal(requests, 0)
  assert.deepEqual((await inPostgres(stage, learner)).ids, [])

  await page.evaluate(() => window.marea.setOnline(true))
  await waitUntilSent(page)
  await assertArrived(stage, learner, [id])
})

test('the browser is killed right after a session was acknowledged: it is there again, and arrives once', async (t) => {
  const learner = await stage.signUp()
  const first = await browser.newPage(t)
  // The server works and then loses its answer, so that the kill comes while the session may or may not have arrived.
  await stage.fault({ kind: 'delay', path: SYNC, delay_ms: 300 })
  await openMarea(first, stage, learner)
  const { id } = await record(first)
  await browser.kill()

  await stage.clearFaults()
  await browser.start()
  const second = await browser.newPage(t)
  await openMarea(second, stage, learner, { online: false })
  assert.equal((await progress(second)).total_sessions, 1)
  await second.evaluate(() => window.marea.setOnline(true))
  await waitUntilSent(second)
  await assertArrived(stage, learner, [id])
  assert.equal((await progress(second)).total_sessions, 1)
})

test('a page that is reloaded while its request is under way sends nothing twice', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  await waitUntilSent(page)
  await stage.fault({ kind: 'delay', path: SYNC, delay_ms: 1_000 })
  const { id } = await record(page)
  await waitForStatus(page, 'a request to be under way', (seen) => seen.syncing)
  await load(page, stage)
  await stage.clearFaults()
  await openMarea(page, stage, learner)
  await waitUntilSent(page)
  await assertArrived(stage, learner, [id])
  assert.equal((await progress(page)).total_sessions, 1)
})

test('an answer that is lost after the work was done makes nothing count twice', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  await waitUntilSent(page)
  // Twice, because a browser may repeat a request by itself on a connection that it had used before.
  await stage.fault({ kind: 'drop_answer', path: SYNC, times: 2 })
  const { id } = await record(page)
  await waitFor('the session to be in Postgres', () => inPostgres(stage, learner), (there) => there.ids.length > 0)
  assert.equal((await progress(page)).total_sessions, 1)
  await waitUntilSent(page)
  assert.equal(await stage.faultsFired(), 2)
  await assertArrived(stage, learner, [id])
  assert.equal((await progress(page)).total_sessions, 1)
})

test('a server that is down for a while is asked again', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await stage.fault({ kind: 'status', path: SYNC, status: 503, times: 2 })
  await openMarea(page, stage, learner)
  const { id } = await record(page)
  await waitUntilSent(page)
  assert.equal(await stage.faultsFired(), 2)
  await assertArrived(stage, learner, [id])
})

test('an expired token is renewed without anybody noticing', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { token: mint(learner, -60), fresh: learner.token })
  const { id } = await record(page)
  await waitUntilSent(page)
  await assertArrived(stage, learner, [id])
  assert.ok((await page.evaluate(() => window.tokens.askedFresh)) > 0)
})

test('tokens that will not do are told in the status, the queue is kept, and a good one sends it', async (t) => {
  const [learner, stranger] = [await stage.signUp(), await stage.signUp()]
  const bad = { expired: mint(learner, -60), forged: `${learner.token.slice(0, -4)}AAAA`, 'of another user': stranger.token }
  for (const [name, token] of Object.entries(bad)) {
    const page = await browser.newPage(t)
    await openMarea(page, stage, learner, { token })
    const before = (await progress(page)).total_sessions
    await record(page)
    const told = await waitForStatus(page, `status with a token ${name}`, (seen) => seen.last_error && !seen.syncing)
    assert.equal(told.pending, 1, name)
    assert.equal((await progress(page)).total_sessions, before + 1, name)
    assert.ok(!JSON.stringify(told).includes(token), 'the token is in the status')

    await page.evaluate((token) => {
      window.tokens.now = token
      return window.marea.tokenChanged()
    }, learner.token)
    const sent = await waitUntilSent(page)
    assert.equal(sent.last_error ?? null, null, name)
    await page.evaluate(() => window.marea.close())
    await page.close()
  }
  assert.equal((await inPostgres(stage, learner)).total, 3)
  assert.deepEqual((await inPostgres(stage, stranger)).ids, [])
})

test('an app without a token (signed out, offline) keeps its queue', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { token: null })
  const { id } = await record(page)
  assert.equal((await sync(page)).outcome, 'need_token')
  assert.equal((await status(page)).pending, 1)
  await page.evaluate((token) => {
    window.tokens.now = token
    return window.marea.tokenChanged()
  }, learner.token)
  await waitUntilSent(page)
  await assertArrived(stage, learner, [id])
})
