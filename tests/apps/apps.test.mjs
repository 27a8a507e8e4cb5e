// The packed package in fresh apps of the kinds that people make: types checked, built, served, and used in Chromium.

import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { before, test } from 'node:test'
import { assertArrived, inPostgres, waitFor } from '../browser/harness.mjs'
import { bin, build, buildNext, checkTypes, ownProblems, serveFolder, setTheStage, startNext, startVite, text, waitForText } from './drive.mjs'
import { apps } from './install.mjs'

let stage, browser, address, openPage, recordsAndSyncs
before(async () => {
  stage = await setTheStage()
  ;({ browser, address, openPage, recordsAndSyncs } = stage)
})

test('Vite and React: hooks in StrictMode', async (t) => {
  await checkTypes('vite-react')
  await build(bin('vite'), ['build', '--logLevel', 'warn'], 'vite-react')
  const url = await serveFolder(`${apps}/vite-react/dist`)
  const learner = await stage.signUp()

  await t.test('a session is written without a network, survives a reload and arrives once', async (t) => {
    const page = await openPage(t, address(url, learner))
    await recordsAndSyncs(page, learner)
    assert.equal(await text(page, 'today'), '1')
    assert.equal(await text(page, 'sessions-copy'), '1')
    assert.deepEqual(ownProblems(page), [])
  })

  await t.test('the double mount of StrictMode opens once', async (t) => {
    const page = await openPage(t, address(url, learner))
    await waitForText(page, 'sessions', 1)
    assert.equal(page.workersSeen, 1)
  })

  await t.test('a tree that is taken away and put back goes on, and hidden components stop following', async (t) => {
    const page = await openPage(t, address(url, learner))
    await waitForText(page, 'sessions', 1)
    await page.evaluate(() => window.remount())
    await waitForText(page, 'sessions', 1)
    await page.click('#record')
    await waitForText(page, 'sessions', 2)
    await page.evaluate(() => window.setShown(false))
    const before = await page.evaluate(() => window.renders)
    await page.click('#record')
    await waitFor('the third session to arrive', () => inPostgres(stage, learner), ({ ids }) => ids.length === 3)
    assert.equal(await page.evaluate(() => window.renders), before)
    await page.evaluate(() => window.setShown(true))
    await waitForText(page, 'sessions', 3)
    assert.deepEqual(ownProblems(page), [])
  })

  await t.test('another user is another mirror; nobody is none', async (t) => {
    const other = await stage.signUp()
    const page = await openPage(t, address(url, learner))
    await waitForText(page, 'sessions', 3)
    await page.evaluate((who) => window.setLearner(who), { userId: other.id, token: other.token })
    await waitForText(page, 'sessions', 0)
    await page.evaluate(() => window.setLearner(null))
    await waitForText(page, 'state', 'signed-out')
    await waitForText(page, 'sessions', '')
    await waitFor('the worker to be gone', () => page.workers().length, (count) => count === 0)
    await page.evaluate((who) => window.setLearner(who), { userId: learner.id, token: learner.token })
    await waitForText(page, 'sessions', 3)
  })

  await t.test('a guest works before anybody signs in, and whoever signs in then has that work, once', async (t) => {
    const page = await openPage(t, `${address(url, null)}&guest`)
    const asked = []
    page.on('request', (request) => request.url().includes('/rest/v1') && asked.push(request.url()))
    await waitForText(page, 'guest', true)
    await waitForText(page, 'sessions', 0)
    await page.click('#record')
    await waitForText(page, 'sessions', 1)
    await page.reload()
    await waitForText(page, 'guest', true)
    await waitForText(page, 'sessions', 1)
    await page.click('#record')
    await waitForText(page, 'sessions', 2)
    assert.deepEqual(asked, [], 'a guest asks nothing of a server')
    // The account has a mirror here, with a session of its own in it.
    const before = (await inPostgres(stage, learner)).ids.length
    const who = ({ id, token }) => ({ userId: id, token })
    await page.evaluate((who) => window.setLearner(who), who(learner))
    await waitForText(page, 'guest', false)
    await waitForText(page, 'sessions', before + 2)
    await waitForText(page, 'pending', 0)
    await assertArrived(stage, learner, (await inPostgres(stage, learner)).ids)
    assert.equal((await inPostgres(stage, learner)).ids.length, before + 2)
    // Signed out it is a guest again, who has nothing; what is done then is for the next account, which has no mirror here.
    await page.evaluate(() => window.setLearner('guest'))
    await waitForText(page, 'guest', true)
    await waitForText(page, 'sessions', 0)
    await page.click('#record')
    await waitForText(page, 'sessions', 1)
    const other = await stage.signUp()
    await page.evaluate((who) => window.setLearner(who), who(other))
    await waitForText(page, 'guest', false)
    await waitForText(page, 'sessions', 1)
    await waitForText(page, 'pending', 0)
    assert.equal((await inPostgres(stage, other)).ids.length, 1)
    // The first one again: nothing comes twice.
    await page.evaluate((who) => window.setLearner(who), who(learner))
    await waitForText(page, 'sessions', before + 2)
    await waitForText(page, 'pending', 0)
    assert.equal((await inPostgres(stage, learner)).ids.length, before + 2)
    assert.deepEqual(ownProblems(page), [])
  })

  await t.test('a mirror that cannot be opened says why', async (t) => {
    const page = await openPage(t, address(url, { id: 'nobody', token: 'x' }))
    await waitForText(page, 'state', 'failed')
    assert.equal(await text(page, 'error'), 'invalid_input')
  })

  await t.test('on a server the hooks give nothing, and need nothing', async () => {
    const html = await build(process.execPath, ['server.mjs'], 'vite-react')
    assert.equal(html.trim(), '<p>opening null null null null null null</p>')
  })
})

test('Vite and its plugin: the development server shows the developer tools, and a build has nothing of them', async (t) => {
  const url = await startVite(bin('vite'), 'vite-react')
  const learner = await stage.signUp()
  const page = await openPage(t, address(url, learner))
  await waitForText(page, 'state', 'open')
  await page.locator('marea-devtools').getByRole('button', { name: /Marea/ }).click()
  await page.locator('marea-devtools').getByRole('tab', { name: 'Queue' }).click()
  await page.click('#record')
  await waitForText(page, 'sessions', 1)
  await assertArrived(stage, learner, await waitFor('the session', async () => (await inPostgres(stage, learner)).ids, (ids) => ids.length === 1))
  assert.deepEqual(ownProblems(page), [])
  assert.ok(bundled('vite-react').length > 0)
  assert.deepEqual(bundled('vite-react').filter((code) => code.includes('marea-devtools')), [])
})

test('Vite and its plugin: the developer tools are found where the app has a base', async (t) => {
  const url = await startVite(bin('vite'), 'vite-react', ['--base', '/app/'])
  const page = await openPage(t, address(`${url}/app`, await stage.signUp()))
  await waitForText(page, 'state', 'open')
  await page.locator('marea-devtools').getByRole('button', { name: /Marea/ }).waitFor()
  assert.deepEqual(page.problems, [])
})

const bundled = (app) =>
  readdirSync(`${apps}/${app}/dist/assets`)
    .filter((name) => name.endsWith('.js'))
    .map((name) => readFileSync(`${apps}/${app}/dist/assets/${name}`, 'utf8'))

test('esbuild and supabase-js: whoever is signed in has their mirror', async (t) => {
  await checkTypes('esbuild-plain')
  await build(process.execPath, ['build.mjs'], 'esbuild-plain')
  const url = await serveFolder(`${apps}/esbuild-plain/dist`)
  const [learner, other] = [await stage.signUp(), await stage.signUp()]
  const page = await openPage(t, address(url, null))
  const signIn = ({ email, password }) =>
    page.evaluate(
      async (account) => (await window.supabase.auth.signInWithPassword(account)).error?.message ?? null,
      { email, password },
    )

  await waitForText(page, 'state', 'signed-out')
  assert.equal(await signIn(learner), null)
  await recordsAndSyncs(page, learner)

  // Signed out with something unsent: it waits on the device, and nobody else sees it.
  await stage.fault({ kind: 'offline', path: '/rest/v1/rpc/marea_sync' })
  await page.click('#record')
  await waitForText(page, 'pending', 1)
  await page.evaluate(() => window.supabase.auth.signOut({ scope: 'local' }))
  await waitForText(page, 'state', 'signed-out')
  await stage.clearFaults()
  assert.equal(await signIn(other), null)
  await waitForText(page, 'state', 'open')
  await waitForText(page, 'sessions', 0)
  await waitForText(page, 'pending', 0)
  assert.equal((await inPostgres(stage, learner)).ids.length, 1)
  assert.deepEqual((await inPostgres(stage, other)).ids, [])
  assert.equal(await signIn(learner), null)
  await waitForText(page, 'sessions', 2)
  await waitForText(page, 'pending', 0)
  assert.equal((await inPostgres(stage, learner)).ids.length, 2)

  // The server refuses the token that the client holds for good: the client renews it, and the session arrives.
  await stage.fault({ kind: 'status', path: '/rest/v1/rpc/marea_sync', status: 401, times: 1 })
  await page.click('#record')
  await waitForText(page, 'sessions', 3)
  await waitForText(page, 'pending', 0)
  assert.equal((await inPostgres(stage, learner)).ids.length, 3)

  // The token has expired and nothing can renew it: supabase-js knows of no session, and the mirror opens all the same.
  await page.evaluate(() => {
    const key = Object.keys(localStorage).find((name) => name.endsWith('-auth-token'))
    const kept = JSON.parse(localStorage.getItem(key))
    localStorage.setItem(key, JSON.stringify({ ...kept, expires_at: 1, expires_in: 0 }))
  })
  await stage.fault({ kind: 'offline' })
  await page.reload()
  await waitForText(page, 'state', 'open')
  await waitForText(page, 'sessions', 3)
  await page.click('#record')
  await waitForText(page, 'sessions', 4)
  await stage.clearFaults()
  await waitFor('the fourth session to arrive', () => inPostgres(stage, learner), ({ ids }) => ids.length === 4)
  assert.deepEqual(ownProblems(page), [])

  await t.test('a client without a sign-in of its own is told before anything is opened', async (t) => {
    const page = await openPage(t, `${address(url, null)}&elsewhere`)
    const told = await waitFor('the error', () => text(page, 'state'), (seen) => seen !== '')
    assert.match(told, /^invalid_input client: .*open\(\)/)
    assert.deepEqual([page.workersSeen, page.workers().length], [0, 0])
  })

  await t.test('a clock that is fast renews no token without need, and a limit of the rate signs nobody out', async (t) => {
    const fast = await stage.signUp()
    const page = await browser.context.newPage()
    t.after(() => page.close().catch(() => undefined))
    await page.addInitScript(() => {
      const RightDate = Date
      const now = () => RightDate.now() + 65 * 60_000
      globalThis.Date = class extends RightDate {
        constructor(...given) {
          super(...(given.length > 0 ? given : [now()]))
        }
        static now = now
      }
    })
    const asked = { token: 0, user: 0 }
    page.on('request', (request) => {
      if (request.url().includes('/auth/v1/token?grant_type=refresh_token')) asked.token++
      if (request.method() === 'GET' && request.url().includes('/auth/v1/user')) asked.user++
    })
    const signIn = () =>
      page.evaluate(
        async (account) => (await window.supabase.auth.signInWithPassword(account)).error?.message ?? null,
        { email: fast.email, password: fast.password },
      )
    await page.goto(address(url, null))
    // Another learner is signed in from before.
    await waitForText(page, 'state', 'open')
    assert.equal(await signIn(), null)
    await waitForText(page, 'state', 'open')
    await waitForText(page, 'sessions', 0)
    await waitForText(page, 'pending', 0)
    for (let sessions = 1; sessions <= 30; sessions++) {
      await page.click('#record')
      await waitForText(page, 'sessions', sessions)
      await waitForText(page, 'pending', 0)
    }
    // The client itself looks every 30 s, and right after signing in; for 30 writes nothing more.
    assert.ok(asked.token <= 8, `${asked.token} renewals`)

    await stage.fault({ kind: 'status', path: '/auth/v1/token', status: 429 })
    const before = asked.user
    const refused = await page.evaluate(async () => (await window.supabase.auth.refreshSession()).error !== null)
    assert.equal(refused, true)
    await waitFor('the server to be asked', () => asked.user - before, (times) => times >= 3)
    await page.click('#record')
    await waitForText(page, 'sessions', 31)
    await waitForText(page, 'pending', 0)
    assert.equal(await text(page, 'state'), 'open')
    assert.equal((await inPostgres(stage, fast)).ids.length, 31)

    // A real one is one, by a clock that is fast too.
    await stage.clearFaults()
    assert.equal(await signIn(), null)
    await page.evaluate(() => window.supabase.auth.signOut({ scope: 'local' }))
    await waitForText(page, 'state', 'signed-out')
  })
})

test('Next 16, app router: a server component around the provider', async (t) => {
  await checkTypes('next-app-router')
  const next = `${apps}/node_modules/next`
  await buildNext(next, 'next-app-router', [], '.next')
  const url = await startNext(next, 'next-app-router', ['start'], '.next')
  const learner = await stage.signUp()
  const html = await (await fetch(address(url, learner))).text()
  assert.match(html, /<output id="state">opening<\/output><output id="sessions"><\/output>/)
  const page = await openPage(t, address(url, learner))
  await recordsAndSyncs(page, learner)
  assert.deepEqual(ownProblems(page), [])
})
