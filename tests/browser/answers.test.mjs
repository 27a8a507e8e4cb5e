// What a server, a proxy or a captive portal may answer with: the queue is kept, the app is told, and it goes on.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
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

const SYNC = '**/rest/v1/rpc/marea_sync'
const CORS = { 'access-control-allow-origin': '*', 'access-control-expose-headers': 'Retry-After' }

let stage, browser
before(async () => {
  stage = await startStage()
  browser = await startBrowser(stage)
})
afterEach(() => stage.clearFaults())

/** Each takes a call that was made, and answers it badly. */
const bad = {
  'an error of its own': (route) => route.fulfill({ status: 500, headers: CORS, body: '{"message":"boom"}' }),
  'a request for patience': (route) =>
    route.fulfill({ status: 429, headers: { ...CORS, 'retry-after': '1' }, body: '{"message":"slow down"}' }),
  'a page of HTML': (route) =>
    route.fulfill({ status: 200, headers: { ...CORS, 'content-type': 'text/html' }, body: '<html>Log in to the Wi-Fi</html>' }),
  'half of its answer': async (route) => {
    const answer = await route.fetch()
    const whole = await answer.text()
    await route.fulfill({ status: 200, headers: { ...CORS, 'content-type': 'application/json' }, body: whole.slice(0, whole.length / 2) })
  },
}

for (const [name, answer] of Object.entries(bad)) {
  test(`a server that answers with ${name} loses nothing and makes nothing count twice`, async (t) => {
    const learner = await stage.signUp()
    const page = await browser.newPage(t)
    await openMarea(page, stage, learner)
    await waitUntilSent(page)
    let answered = 0
    await page.route(SYNC, (route) => {
      if (route.request().method() !== 'POST') return route.continue()
      answered++
      return answer(route)
    })
    const ids = [(await record(page)).id, (await record(page)).id]
    const told = await waitFor('the status to say so', () => status(page), (seen) => answered > 0 && seen.last_error && !seen.syncing)
    assert.ok(told.last_error.code.length > 0 && told.last_error.message.length > 0)
    assert.equal(told.pending, 2)
    assert.equal((await progress(page)).total_sessions, 2)

    await page.unroute(SYNC)
    await sync(page)
    await waitUntilSent(page)
    await assertArrived(stage, learner, ids)
    assert.equal((await progress(page)).total_sessions, 2)
    assert.deepEqual(page.problems, [])
  })
}

/** A server that allows every page everything, and answers so what is no preflight. */
async function permissive(t, answer) {
  const server = createServer((request, response) => {
    response.setHeader('access-control-allow-origin', '*')
    response.setHeader('access-control-allow-headers', '*, authorization')
    if (request.method === 'OPTIONS') return response.writeHead(204).end()
    answer(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return `http://127.0.0.1:${server.address().port}`
}

test('a redirect is followed nowhere: neither the key nor the queue reaches another host', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  let redirected = 0
  const followed = []
  const stranger = await permissive(t, (request, response) => {
    followed.push(`${request.method} ${request.url}`)
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  })
  const statuses = [301, 302, 303, 307, 308]
  const url = await permissive(t, (request, response) =>
    response.writeHead(statuses[redirected++ % statuses.length], { location: `${stranger}${request.url}` }).end(),
  )
  await openMarea(page, stage, learner, { url })
  const { id } = await record(page)
  for (const _ of statuses) await sync(page)
  const told = await status(page)
  assert.ok(redirected >= statuses.length)
  assert.deepEqual(followed, [])
  assert.deepEqual([told.last_error.code, told.pending], ['captive_portal', 1])

  await page.evaluate(() => window.marea.close())
  await openMarea(page, stage, learner)
  await waitUntilSent(page)
  await assertArrived(stage, learner, [id])
})

test('a server that takes three mutations at a time gets them three at a time', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { online: false })
  const ids = await page.evaluate(async () => {
    const all = Array.from({ length: 20 }, () => window.marea.recordSession({ session_type: 'qa' }))
    return (await Promise.all(all)).map((recorded) => recorded.id)
  })
  let refused = 0
  await page.route(SYNC, (route) => {
    const { request } = JSON.parse(route.request().postData() ?? '{"request":{"mutations":[]}}')
    if (request.mutations.length <= 3) return route.continue()
    refused++
    return route.fulfill({ status: 413, headers: CORS, body: '' })
  })
  await page.evaluate(() => window.marea.setOnline(true))
  await waitUntilSent(page)
  assert.ok(refused > 0)
  assert.equal((await status(page)).rejected, 0)
  await assertArrived(stage, learner, ids)
})

test('a token that runs out while a thousand sessions are sent is renewed in the middle', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { online: false, fresh: learner.token })
  const ids = await page.evaluate(async () => {
    const all = Array.from({ length: 1_000 }, () => window.marea.recordSession({ session_type: 'qa' }))
    return (await Promise.all(all)).map((recorded) => recorded.id)
  })
  // Of the requests that this takes, the second meets an expired token.
  let posts = 0
  await page.route(SYNC, (route) => {
    if (route.request().method() !== 'POST' || ++posts !== 2) return route.continue()
    return route.fulfill({ status: 401, headers: CORS, body: '{"code":"PGRST303","message":"JWT expired"}' })
  })
  await page.evaluate(() => window.marea.setOnline(true))
  await waitUntilSent(page)
  assert.equal(await page.evaluate(() => window.tokens.askedFresh), 1)
  await assertArrived(stage, learner, ids)
})

test('one learner signs out, another signs in, and the first comes back: nobody sees or sends another one\'s', async (t) => {
  const [ada, ben] = [await stage.signUp(), await stage.signUp()]
  const page = await browser.newPage(t)
  // A request of Ada's is under way when she leaves.
  await openMarea(page, stage, ada)
  await waitUntilSent(page)
  await stage.fault({ kind: 'delay', path: '/rest/v1/rpc/marea_sync', delay_ms: 1_000 })
  const first = await record(page)
  await waitFor('a request to be under way', () => status(page), (seen) => seen.syncing)
  const late = await record(page)
  await page.evaluate(() => window.marea.close())

  await openMarea(page, stage, ben)
  assert.equal((await progress(page)).total_sessions, 0)
  const bens = await record(page)
  await stage.clearFaults()
  await waitUntilSent(page)
  await page.evaluate(() => window.marea.close())
  await assertArrived(stage, ben, [bens.id])
  assert.ok(!(await inPostgres(stage, ada)).ids.includes(late.id), 'what waits of Ada is not sent as Ben')

  await load(page, stage)
  await openMarea(page, stage, ada)
  assert.equal((await progress(page)).total_sessions, 2)
  await waitUntilSent(page)
  await assertArrived(stage, ada, [first.id, late.id])
})

test('a mirror that the browser has evicted is pulled anew', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  const { id } = await record(page)
  await page.evaluate(() => window.marea.createExport({ export_type: 'progress', export_format: 'csv' }))
  await waitUntilSent(page)
  await page.evaluate(() => window.marea.close())
  await page.evaluate(async (userId) => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('.marea')
    await root.removeEntry(userId, { recursive: true })
  }, learner.id)

  await openMarea(page, stage, learner)
  assert.equal((await status(page)).recovery, 'evicted')
  await waitFor('the sessions to be there again', () => progress(page), (seen) => seen.total_sessions === 1)
  const { exports } = await page.evaluate(() => window.marea.exports())
  assert.deepEqual(exports.map((made) => [made.export_type, made.export_format]), [['progress', 'csv']])
  await assertArrived(stage, learner, [id])
})
