// Tokens, the API key and the app's own wish to use the network, in the browser and against the real server: who is asked for
// a token, what becomes of one that cannot be had now, and that no request begins where the app forbids it.

import assert from 'node:assert/strict'
import { afterEach, before, test } from 'node:test'
import {
  assertArrived,
  inPostgres,
  openMarea,
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
afterEach(() => stage.clearFaults())

/** Counts the syncs that a page's mirror begins, from now on. */
function countSyncs(page) {
  const counted = { begun: 0 }
  page.on('request', (request) => {
    if (request.method() === 'POST' && request.url().includes(SYNC)) counted.begun++
  })
  return counted
}

test('an app that cannot say who is signed in is asked again by itself', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await page.evaluate(() => (window.tokens.failures = 2))
  await openMarea(page, stage, learner)
  const { id } = await record(page)
  // No signal, no write, no call: only time.
  await waitUntilSent(page)
  await assertArrived(stage, learner, [id])
  assert.ok((await page.evaluate(() => window.tokens.asked)) > 2)
})

test('what an app without a token to give now is told by the status is not that somebody is signed out', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await page.evaluate(() => (window.tokens.failures = Infinity))
  await openMarea(page, stage, learner)
  const report = await sync(page)
  assert.deepEqual([report.outcome, report.last_error.code], ['retry_later', 'token_unavailable'])
  const told = await status(page)
  assert.ok(told.next_attempt_at, 'an attempt is planned')

  await page.evaluate(() => (window.tokens.now = null))
  await page.evaluate(() => (window.tokens.failures = 0))
  const without = await sync(page)
  assert.deepEqual([without.outcome, without.last_error.code], ['need_token', 'unauthorized'])
})

test("a leading tab that has no token, or cannot say, uses another tab's", async (t) => {
  const learner = await stage.signUp()
  const [leader, other] = [await browser.newPage(t), await browser.newPage(t)]
  await openMarea(leader, stage, learner)
  await openMarea(other, stage, learner)
  assert.equal(await leader.evaluate(() => window.marea.leads), true)
  const first = await record(leader)
  await waitUntilSent(leader)

  await leader.evaluate(() => (window.tokens.now = null))
  const second = await record(leader)
  await waitUntilSent(leader)
  assert.ok((await other.evaluate(() => window.tokens.asked)) > 0)

  // The app of the leading tab fails; the other tab's has a token all the same.
  await leader.evaluate(() => (window.tokens.failures = Infinity))
  const third = await record(leader)
  await waitUntilSent(leader)
  await assertArrived(stage, learner, [first.id, second.id, third.id])
})

test('no request begins once the app forbids the network, right after opening or while a token is waited for', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  const syncs = countSyncs(page)
  await page.evaluate(() => {
    window.tokens.gate = new Promise((resolve) => (window.tokens.openGate = resolve))
  })
  await openMarea(page, stage, learner)
  await waitFor('the token to be asked for', () => page.evaluate(() => window.tokens.asked), (asked) => asked > 0)
  await page.evaluate(() => window.marea.setOnline(false))
  const { id } = await record(page)
  await page.evaluate(() => window.tokens.openGate())
  await waitFor('the round to end', () => status(page), (seen) => !seen.syncing)
  assert.equal((await sync(page)).outcome, 'offline')
  const told = await status(page)
  assert.deepEqual([told.paused, told.online, told.pending], [true, false, 1])
  assert.equal(syncs.begun, 0)
  assert.deepEqual((await inPostgres(stage, learner)).ids, [])

  await page.evaluate(() => window.marea.setOnline(true))
  const after = await waitUntilSent(page)
  assert.deepEqual([after.paused, after.online], [false, true])
  await assertArrived(stage, learner, [id])
})

test('a round under way ends with the answer that it waits for, and asks for nothing more', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  await waitUntilSent(page)
  const syncs = countSyncs(page)
  let answer
  const held = new Promise((resolve) => (answer = resolve))
  await page.route(`**${SYNC}`, async (route) => {
    await held
    await route.continue()
  })
  const first = await record(page)
  await waitFor('a request to be under way', () => status(page), (seen) => seen.syncing && syncs.begun === 1)
  const second = await record(page)
  await page.evaluate(() => window.marea.setOnline(false))
  answer()
  const told = await waitFor('its answer', () => status(page), (seen) => !seen.syncing)
  assert.deepEqual([told.pending, told.online, told.paused], [1, false, true])
  assert.equal((await sync(page)).outcome, 'offline')
  assert.equal(syncs.begun, 1)
  assert.deepEqual((await inPostgres(stage, learner)).ids, [first.id])
  await page.evaluate(() => window.marea.setOnline(true))
  await waitUntilSent(page)
  await assertArrived(stage, learner, [first.id, second.id])
})

test('a network that goes and comes back while a token is waited for is not told as away for ever', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { token: null })
  assert.equal((await sync(page)).outcome, 'need_token')
  await page.evaluate(() => window.dispatchEvent(new Event('offline')))
  await waitFor('to be told away', () => status(page), (seen) => !seen.online)
  await page.evaluate(() => window.dispatchEvent(new Event('online')))
  await waitFor('to be told back', () => status(page), (seen) => seen.online && seen.connection !== 'offline')
})

test('a refused API key is told as one, and nobody is asked for another token', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { publishableKey: 'retired', fresh: learner.token })
  await record(page)
  const report = await sync(page)
  assert.deepEqual([report.outcome, report.last_error.code, report.pending], ['refused', 'api_key_refused', 1])
  assert.match(report.last_error.message, /anon key/)
  assert.equal(await page.evaluate(() => window.tokens.askedFresh), 0)
})

test('what cannot be opened with is told at once, by name', async (t) => {
  const page = await browser.newPage(t)
  const good = { url: stage.backend.url, anonKey: stage.backend.anon_key, userId: '7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d' }
  const refused = await page.evaluate(async (good) => {
    const { open } = await import('/marea/index.js')
    const given = { ...good, getAccessToken: () => null }
    const cases = {
      'options: ': [undefined, null, 'url', 7],
      'url: ': [
        ...[undefined, null, 7, '', 'x.supabase.co', 'ftp://x', 'https://a:b@x.co', 'https://x.co?apikey=1', 'https://x.co/#'],
        // Everybody on the way could read the token.
        ...['10.0.0.1:54321', 'x.supabase.co', 'localhost.example.com', '127.0.0.1.example.com'].map((host) => `http://${host}`),
        ...['rest/v1', 'rest/v1/', 'rest/v1/rpc/marea_sync', 'auth/v1'].map((path) => `https://x.supabase.co/${path}`),
      ].map((url) => ({ ...given, url })),
      'anonKey: ': [null, 7, '', ' ', 'key\n', 'Bearer key'].map((anonKey) => ({ ...given, anonKey })),
      // What is there under neither name is asked for under the newer one.
      'publishableKey: ': [
        { ...given, anonKey: undefined },
        // A secret key, in either form.
        ...['sb_secret_abc', `e30.${btoa('{"role":"service_role"}')}.sig`].map((publishableKey) => ({ ...given, anonKey: undefined, publishableKey })),
        ...[7, '', ' ', 'key\n', 'Bearer key'].map((publishableKey) => ({ ...given, anonKey: undefined, publishableKey })),
      ],
      'userId: ': [undefined, 7, '', 'ada', 'user_2abc'].map((userId) => ({ ...given, userId })),
      'getAccessToken: ': [undefined, null, 'token', {}].map((getAccessToken) => ({ ...given, getAccessToken })),
      'online: ': [0, 'false'].map((online) => ({ ...given, online })),
      'allowHttp: ': [0, 'true'].map((allowHttp) => ({ ...given, allowHttp })),
      'persist: ': [1].map((persist) => ({ ...given, persist })),
      'storage: ': ['localStorage', 1].map((storage) => ({ ...given, storage })),
    }
    const found = []
    for (const [name, all] of Object.entries(cases)) {
      for (const options of all) found.push([name, await window.failureOf(() => open(options))])
    }
    return found
  }, good)
  assert.ok(refused.length > 35)
  for (const [name, failure] of refused) {
    assert.deepEqual([failure?.name, failure?.code, failure?.retry], ['MareaError', 'invalid_input', false], name)
    assert.ok(failure.message.startsWith(name), `${name}${failure.message}`)
    assert.doesNotMatch(failure.message, /Bearer/)
  }
  assert.equal(page.workers().length, 0, 'nothing was begun')
  const allowed = await page.evaluate(async (good) => {
    const { open } = await import('/marea/index.js')
    const options = { ...good, url: 'http://10.0.0.1', allowHttp: true, online: false, storage: 'memory', getAccessToken: () => null }
    const marea = await open(options)
    const { storage } = await marea.status()
    await marea.close()
    return storage
  }, good)
  assert.equal(allowed, 'memory')
})

test('what a request under way brings is not kept of a mirror in localStorage that was erased meanwhile', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { storage: 'local-storage' })
  await waitUntilSent(page)
  let answer
  const held = new Promise((resolve) => (answer = resolve))
  t.after(() => answer())
  await page.route(`**${SYNC}`, async (route) => {
    await held
    await route.continue()
  })
  await record(page)
  await waitFor('a request to be under way', () => status(page), (seen) => seen.syncing)
  await page.evaluate((id) => {
    window.kept = () => Object.keys(localStorage).filter((key) => key.startsWith(`marea:${id}:`))
    return window.marea.erase()
  }, learner.id)
  assert.deepEqual(await page.evaluate(() => window.kept()), [])
  // The engine looks whose image it is before it writes one.
  await page.evaluate((owner) => {
    const { getItem } = Storage.prototype
    window.looked = false
    Storage.prototype.getItem = function (key) {
      window.looked ||= key === owner
      return getItem.call(this, key)
    }
  }, `marea:${learner.id}:owner`)
  answer()
  await waitFor('the answer to be taken', () => page.evaluate(() => window.looked), (looked) => looked)
  assert.deepEqual(await page.evaluate(() => window.kept()), [])
})

test('a tab that makes room while a request is under way keeps its lock until its worker has ended', async (t) => {
  const learner = await stage.signUp()
  const [page, other] = [await browser.newPage(t), await browser.newPage(t)]
  await openMarea(page, stage, learner)
  await waitUntilSent(page)
  let answer
  const held = new Promise((resolve) => (answer = resolve))
  t.after(() => answer())
  await page.route(`**${SYNC}`, async (route) => {
    await held
    await route.continue()
  })
  const { id } = await record(page)
  await waitFor('a request to be under way', () => status(page), (seen) => seen.syncing)

  // The page is busy, so that it cannot end its worker: a request that blocks it until the test answers.
  let release
  const blocked = new Promise((resolve) => (release = resolve))
  t.after(() => release())
  let asked
  const isBlocked = new Promise((resolve) => (asked = resolve))
  await page.route('**/block', async (route) => {
    asked()
    await blocked
    await route.fulfill({ status: 200, body: '' })
  })
  const busy = page.evaluate(() => {
    const call = new XMLHttpRequest()
    call.open('GET', '/block', false)
    call.send()
  })
  await isBlocked

  // A newer version of the app asks for the mirror, until the leader serves nobody any more.
  await other.evaluate(async (userId) => {
    const toLeader = new BroadcastChannel(`marea:${userId}:leader`)
    const news = new BroadcastChannel(`marea:${userId}:news`)
    const answers = () =>
      new Promise((resolve) => {
        const timer = setTimeout(() => resolve(false), 1_000)
        news.onmessage = ({ data }) => {
          if (data.kind !== 'leading') return
          clearTimeout(timer)
          resolve(true)
        }
        toLeader.postMessage({ kind: 'hello', tab: 'another' })
      })
    if (!(await answers())) throw new Error('nobody leads')
    toLeader.postMessage({ kind: 'candidate', version: { protocol: 99, mirror: 99 } })
    while (await answers());
  }, learner.id)
  const locks = () => other.evaluate(async () => (await navigator.locks.query()).held.map((lock) => lock.name))
  assert.deepEqual(await locks(), [`marea:${learner.id}`])

  release()
  await busy
  answer()
  await waitUntilSent(page)
  await assertArrived(stage, learner, [id])
})
