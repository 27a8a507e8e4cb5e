// What was there before the account was: a guest's work, and an app's own history in localStorage. Both come in once, from
// whichever tab, page or device.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { before, test } from 'node:test'
import { assertArrived, browserTest, inPostgres, load, openMarea, progress, record, startBrowser, startStage, status, sync, waitFor, waitUntilSent } from './harness.mjs'

let stage, browser, elsewhere
before(async () => {
  stage = await startStage()
  ;[browser, elsewhere] = [await startBrowser(stage), await startBrowser(stage)]
})

const guest = (page, options) => openMarea(page, stage, { id: null, token: null }, options)
const claim = (page) => page.evaluate(() => window.marea.claim())
const total = async (page) => (await progress(page)).total_sessions
const failure = (page, code) => page.evaluate((code) => window.failureOf(() => new Function('marea', `return ${code}`)(window.marea)), code)

const HISTORY = [
  { session: { session_type: 'qa', ended_at: '2025-03-01T22:30:00-05:00', duration_minutes: 10 } },
  { session: { session_type: 'qa', local_date: '2025-03-02', duration_minutes: 5 } },
  { event: { local_date: '2025-03-03', points: 40 }, key: 'award-1' },
]
const importOnce = (page, items = HISTORY, name = 'history') =>
  page.evaluate(([name, items]) => window.marea.importOnce(name, items), [name, items])

test('a guest works on this device alone, and the account has it all at sign-in, once', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  const asked = []
  page.on('request', (request) => request.url().includes('/rest/v1') && asked.push(request.url()))
  // The account has been here before.
  await openMarea(page, stage, learner)
  const before = await record(page)
  await waitUntilSent(page)
  await load(page, stage)
  asked.length = 0

  await guest(page)
  assert.equal(await page.evaluate(() => window.marea.isGuest), true)
  const first = await record(page)
  assert.equal((await sync(page)).outcome, 'need_token')
  await load(page, stage)
  await guest(page)
  const second = await record(page)
  assert.deepEqual([await total(page), (await status(page)).pending, asked.length], [2, 2, 0])
  assert.equal((await failure(page, 'marea.claim()')).code, 'needs_account')
  assert.equal((await failure(page, "marea.keys.setUp('a long passphrase of five words')")).code, 'needs_account')

  // The guest's mirror is still open, and led, in another tab when somebody signs in.
  const other = await browser.newPage(t)
  await openMarea(other, stage, learner)
  assert.deepEqual(await claim(other), { claimed: 2, known: 0, kept: 0 })
  assert.deepEqual(await claim(other), { claimed: 0, known: 0, kept: 0 })
  await waitUntilSent(other)
  await assertArrived(stage, learner, [before.id, first.id, second.id])
  assert.equal(await total(other), 3)
  await waitFor('the guest to have nothing left', () => total(page), (seen) => seen === 0)

  // What the guest's tab writes now is for the next one who signs in here, at the next start.
  const third = await record(page)
  const next = await stage.signUp()
  await load(other, stage)
  await openMarea(other, stage, next, { claimGuest: true })
  assert.equal(await total(other), 1)
  await waitUntilSent(other)
  await assertArrived(stage, next, [third.id])
})

test('a claim that a page has not lived to end is ended by the next', async (t) => {
  const learner = await stage.signUp()
  const [page, other] = [await browser.newPage(t), await browser.newPage(t)]
  await guest(page)
  const { id } = await record(page)
  await openMarea(other, stage, learner)
  // Wherever it is when its page goes.
  await other.evaluate(() => void window.marea.claim().catch(() => undefined))
  await load(other, stage)
  await openMarea(other, stage, learner)
  await claim(other)
  assert.equal(await total(other), 1)
  await waitUntilSent(other)
  await assertArrived(stage, learner, [id])
})

test('a history comes in once: again, from two tabs at once, on another device, as a guest and then as an account', async (t) => {
  const learner = await stage.signUp()
  const [one, two] = [await browser.newPage(t), await browser.newPage(t)]
  await guest(one)
  assert.deepEqual(await importOnce(one), { imported: 3, known: 0, refused: [] })
  await load(one, stage)
  await Promise.all([one, two].map((page) => openMarea(page, stage, learner, { claimGuest: true })))
  const both = await Promise.all([one, two].map((page) => importOnce(page)))
  assert.deepEqual(both.map(({ imported }) => imported), [0, 0], 'the guest has brought it')
  const device = await elsewhere.newPage(t)
  await openMarea(device, stage, learner)
  assert.equal((await importOnce(device)).imported, 3)
  const { id } = await record(device)
  for (const page of [one, device, one, device]) {
    await sync(page)
    await waitUntilSent(page)
  }
  assert.equal((await inPostgres(stage, learner)).ids.length, 3)
  for (const page of [one, two, device]) {
    await waitFor('the same totals', () => progress(page), (seen) => seen.total_sessions === 3 && seen.total_points === 40)
    const days = await page.evaluate(() => window.marea.activity('2025-03-01', '2025-03-31'))
    assert.deepEqual(days.map((day) => day.day), ['2025-03-01', '2025-03-02', '2025-03-03'])
  }
  assert.ok(id)
})

test('two tabs that import at once bring it once, and what is wrong is named', async (t) => {
  const learner = await stage.signUp()
  const [one, two] = [await browser.newPage(t), await browser.newPage(t)]
  await Promise.all([one, two].map((page) => openMarea(page, stage, learner, { online: false })))
  const wrong = [...HISTORY, { session: { session_type: 'qa' } }, { session: { session_type: 'qa', minutes: 'secret', local_date: '2025-03-01' } }]
  const both = await Promise.all([one, two].map((page) => importOnce(page, wrong)))
  assert.deepEqual(both.map(({ imported }) => imported).sort(), [0, 3])
  for (const { refused } of both) {
    assert.deepEqual(refused.map(({ index }) => index).sort(), [3, 4])
    const said = refused.map(({ message }) => message).join(' ')
    assert.match(said, /ended_at: is missing/)
    assert.match(said, /unknown field `minutes`/)
    assert.doesNotMatch(said, /secret/)
  }
  assert.equal(await total(one), 2)
  for (const [name, items] of [['', []], ['x'.repeat(101), []], ['a', {}], ['a', null], [7, []]]) {
    const refused = await failure(one, `marea.importOnce(${JSON.stringify(name)}, ${JSON.stringify(items)})`)
    assert.equal(refused?.code, 'invalid_input', String(name).slice(0, 9))
  }
})

browserTest('without a file system a guest is claimed too', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await guest(page, { storage: 'local-storage' })
  const { id } = await record(page)
  await load(page, stage)
  await openMarea(page, stage, learner, { storage: 'local-storage', claimGuest: true })
  assert.equal(await total(page), 1)
  await waitUntilSent(page)
  await assertArrived(stage, learner, [id])
})

browserTest('with supabase-js a guest signs in, and an anonymous user who is linked changes nothing', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await page.evaluate(
    async ({ url, key, learner }) => {
      const { openWithSupabase } = await import('/marea/supabase.js')
      let tell
      const session = { access_token: learner.token, expires_at: Date.now() / 1000 + 3600, user: { id: learner.id } }
      let now = null
      const auth = {
        getSession: async () => ({ data: { session: now }, error: null }),
        refreshSession: async () => ({ data: { session: now }, error: null }),
        onAuthStateChange(callback) {
          tell = callback
          setTimeout(() => callback('INITIAL_SESSION', null), 0)
          return { data: { subscription: { unsubscribe() {} } } }
        },
      }
      window.say = (event, signedIn) => {
        now = signedIn ? session : null
        tell(event, now)
      }
      window.account = openWithSupabase({ auth }, { url, publishableKey: key, guests: true, storage: 'memory' })
      window.marea = await window.account.ready()
    },
    { url: stage.backend.url, key: stage.backend.anon_key, learner },
  )
  assert.equal(await page.evaluate(() => window.marea.isGuest), true)
  const { id } = await record(page)
  await page.evaluate(() => window.say('SIGNED_IN', true))
  const opened = () => page.evaluate(() => window.account.state.state === 'open' && !window.account.state.marea.isGuest)
  await waitFor('the account', opened, (done) => done)
  await page.evaluate(() => (window.marea = window.account.state.marea))
  assert.equal(await total(page), 1, 'what a guest did in memory is not gone with the guest')
  await waitUntilSent(page)
  await assertArrived(stage, learner, [id])

  // Linking an anonymous user: the same id, another event. The mirror that is open stays as it is.
  await page.evaluate(() => window.say('USER_UPDATED', true))
  assert.equal(await page.evaluate(() => window.account.state.marea === window.marea), true)
  const second = await record(page)
  await waitUntilSent(page)
  await assertArrived(stage, learner, [id, second.id])

  await page.evaluate(() => window.say('SIGNED_OUT', false))
  const isGuest = () => page.evaluate(() => window.account.state.marea?.isGuest === true)
  await waitFor('a guest again', isGuest, (done) => done)
  await page.evaluate(() => window.account.close())
})

// A gateway's 400 and a hook's 422 closed the mirror as if the learner had signed out.
browserTest('with supabase-js only the sign-in service itself, of this session, says that a sign-in is over', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  const opened = (error) =>
    page.evaluate(
      async ({ url, key, learner, error }) => {
        const { openWithSupabase } = await import('/marea/supabase.js')
        localStorage.setItem(`marea.user:${url}`, learner.id)
        let tell
        const answer = async () => {
          // As the client does: first the event, then the answer.
          tell('SIGNED_OUT', null)
          return { data: { session: null }, error }
        }
        const auth = {
          getSession: answer,
          refreshSession: answer,
          onAuthStateChange(callback) {
            tell = callback
            setTimeout(() => callback('INITIAL_SESSION', null), 0)
            return { data: { subscription: { unsubscribe() {} } } }
          },
        }
        const account = openWithSupabase({ auth }, { url, publishableKey: key, storage: 'memory' })
        await new Promise((resolve) => account.subscribe(() => ['open', 'signed-out'].includes(account.state.state) && resolve()))
        const { state, marea } = account.state
        const failed = (await marea?.sync())?.last_error?.code
        const kept = localStorage.getItem(`marea.user:${url}`) !== null
        await account.close()
        return [state, failed ?? null, kept]
      },
      { url: stage.backend.url, key: stage.backend.anon_key, learner, error: { name: 'AuthApiError', ...error } },
    )
  for (const error of [
    { status: 422, code: 'hook_timeout' },
    { status: 400, message: 'Bad Request' },
    { status: 400, code: 'validation_failed' },
    { status: 401, code: 'bad_jwt' },
    { status: 403, code: 'unexpected_failure' },
    { status: 429, code: 'over_request_rate_limit' },
    { status: 503, code: 'session_expired' },
  ]) {
    assert.deepEqual(await opened(error), ['open', 'token_unavailable', true], JSON.stringify(error))
  }
  for (const error of [
    { status: 400, code: 'refresh_token_not_found' },
    { status: 400, code: 'refresh_token_already_used' },
    { status: 400, code: 'session_expired' },
    { status: 400, code: 'user_banned' },
    { status: 400, message: 'Invalid Refresh Token: Refresh Token Not Found' },
    { name: 'AuthSessionMissingError', status: 400 },
  ]) {
    assert.deepEqual(await opened(error), ['signed-out', null, false], JSON.stringify(error))
  }
  assert.deepEqual(await opened({ status: 400, code: 'user_not_found' }), ['open', 'account_deleted', true])
})

browserTest('whether a session is over is asked of nobody to whom the server sends on', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  const asked = await page.evaluate(
    async ({ url, key, learner }) => {
      const { openWithSupabase } = await import('/marea/supabase.js')
      const session = { access_token: learner.token, expires_at: Date.now() / 1000 - 10, user: { id: learner.id } }
      let tell
      const auth = {
        getSession: async () => ({ data: { session }, error: null }),
        refreshSession: async () => ({ data: { session }, error: null }),
        onAuthStateChange(callback) {
          tell = callback
          setTimeout(() => callback('INITIAL_SESSION', session), 0)
          return { data: { subscription: { unsubscribe() {} } } }
        },
      }
      const account = openWithSupabase({ auth }, { url, publishableKey: key, storage: 'memory' })
      await account.ready()
      const asked = []
      const fetched = window.fetch
      window.fetch = async (address, options) => {
        asked.push([String(address).slice(url.length), options.redirect])
        return new Response('', { status: 401 })
      }
      const over = new Promise((resolve) => account.subscribe(() => account.state.state === 'signed-out' && resolve()))
      tell('SIGNED_OUT', null)
      await over
      window.fetch = fetched
      await account.close()
      return asked
    },
    { url: stage.backend.url, key: stage.backend.anon_key, learner },
  )
  assert.deepEqual(asked, [['/auth/v1/user', 'error']])
})

/** A token that ended long ago, signed by the project. */
function endedToken({ token }) {
  const claims = { ...JSON.parse(Buffer.from(token.split('.')[1], 'base64url')), exp: 1_700_000_000 }
  const said = [{ alg: 'HS256', typ: 'JWT' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${said}.${createHmac('sha256', stage.backend.jwt_secret).update(said).digest('base64url')}`
}

/**
 * Follows a client that still has a session whose token has ended, up to where its mirror is open. A renewal answers with `error`, and
 * the session is removed first: as the real client does for whatever is not of the network. `leftMs`: of the session, by this device's
 * clock.
 */
const followEnded = (page, learner, error, { leftMs = -10_000, online = true } = {}) =>
  page.evaluate(
    async ({ url, key, userId, token, error, leftMs, online }) => {
      const { openWithSupabase } = await import('/marea/supabase.js')
      let session = { access_token: token, expires_at: (Date.now() + leftMs) / 1000, user: { id: userId } }
      window.signOut = () => {
        session = null
        window.tell('SIGNED_OUT', null)
      }
      const auth = {
        getSession: async () => ({ data: { session }, error: null }),
        async refreshSession() {
          window.signOut()
          return { data: { session: null }, error }
        },
        onAuthStateChange(callback) {
          window.tell = callback
          setTimeout(() => callback('INITIAL_SESSION', session), 0)
          return { data: { subscription: { unsubscribe() {} } } }
        },
      }
      window.account = openWithSupabase({ auth }, { url, publishableKey: key, storage: 'memory', online })
      window.marea = await window.account.ready()
      window.remembered = () => localStorage.getItem(`marea.user:${url}`) !== null
    },
    { url: stage.backend.url, key: stage.backend.anon_key, userId: learner.id, token: endedToken(learner), error, leftMs, online },
  )

browserTest('a renewal that the sign-in service puts off closes nothing, and one that it refuses does', async (t) => {
  for (const [error, expected, leftMs] of [
    [{ status: 429, code: 'over_request_rate_limit' }, 'open'],
    [{ name: 'AuthUnknownError' }, 'open'],
    [{ status: 400, code: 'refresh_token_not_found' }, 'signed-out'],
    // A person has signed out meanwhile.
    [{ name: 'AuthRetryableFetchError', status: 0 }, 'signed-out'],
    [{ status: 429, code: 'over_request_rate_limit' }, 'signed-out', 3_600_000],
  ]) {
    const learner = await stage.signUp()
    const page = await browser.newPage(t)
    const asked = []
    page.on('request', (request) => request.url().endsWith('/auth/v1/user') && asked.push(request.method()))
    await followEnded(page, learner, { name: 'AuthApiError', ...error }, { leftMs })
    await page.evaluate(() => void window.marea.sync().catch(() => undefined))
    const state = () => page.evaluate(() => window.account.state.state)
    if (expected === 'open') {
      await waitFor('the renewal', () => status(page), ({ last_error }) => last_error?.code === 'token_unavailable')
      assert.deepEqual([await state(), asked], ['open', []], JSON.stringify(error))
    } else {
      await waitFor(`the end of the session: ${JSON.stringify(error)}`, state, (seen) => seen === 'signed-out')
    }
    assert.equal(await page.evaluate(() => window.remembered()), expected === 'open')
    await page.evaluate(() => window.account.close())
  }
})

browserTest('what says nothing of a session leaves the mirror open, and without a network a person has signed out', async (t) => {
  const learner = await stage.signUp()
  for (const [answers, online, expected] of [
    [[429, 429, 429], true, 'open'],
    [[503, 500, 502], true, 'open'],
    [[0, 0, 0], true, 'open'],
    [[404, 200, 429], true, 'open'],
    [[401], true, 'signed-out'],
    [[200, 429, 403], true, 'signed-out'],
    [[0], false, 'signed-out'],
  ]) {
    const page = await browser.newPage(t)
    await followEnded(page, learner, null, { online: false })
    const state = await page.evaluate(
      async ({ answers, online }) => {
        Object.defineProperty(navigator, 'onLine', { value: online })
        const waiting = [...answers]
        window.fetch = async () => {
          const status = waiting.shift()
          if (!status) throw new TypeError('Failed to fetch')
          return new Response('', { status })
        }
        const closed = () => window.account.state.state === 'signed-out'
        window.signOut()
        while (waiting.length > 0 && !closed()) await new Promise((resolve) => setTimeout(resolve, 20))
        // What was answered last is judged.
        await new Promise((resolve) => setTimeout(resolve))
        return window.account.state.state
      },
      { answers, online },
    )
    assert.equal(state, expected, JSON.stringify([answers, online]))
    await page.evaluate(() => window.account.close())
  }
})
