// The demo page as a learner meets it, in its built form: signing in, the form, the switch, and a start without a network.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterEach, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { serve } from '../../demo/serve.mjs'
import { readPage, recordSession, setAirplane, signOut, signUp, waitForPage } from '../../demo/tools/page.mjs'
import { startBrowser, startStage, waitFor } from './harness.mjs'

const dist = fileURLToPath(new URL('../../demo/dist', import.meta.url))
const tables = fileURLToPath(new URL('../../demo/tables.sql', import.meta.url))
const SESSION_KEY = 'marea-demo.session'

let stage, browser
before(async () => {
  stage = await startStage()
  await stage.database.query(readFileSync(tables, 'utf8'))
  browser = await startBrowser(stage)
})

afterEach(() => stage.clearFaults())

/** The page's own server, whose stop is part of a test. */
async function serveDemo(t, port = 0) {
  const server = await serve({ mounts: { '/': dist }, config: stage.backend, port })
  t.after(server.stop)
  return server
}

async function newPage(t, url) {
  const page = await browser.context.newPage()
  t.after(() => page.close().catch(() => undefined))
  page.problems = []
  page.on('pageerror', (error) => page.problems.push(error.message))
  // A broken policy, a missing file, a key that React misses: a newcomer who opens the console finds it clean.
  page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()))
  await page.goto(url)
  return page
}

const newAccount = () => ({ email: `${randomUUID()}@example.com`, password: randomUUID() })
const session = { kind: 'qa', minutes: 12, descriptions: 0, questions: 10, correct: 8, words: 3 }

test('both demo accounts sign in with one press, and see their own numbers only', async (t) => {
  const { url } = await serveDemo(t)
  const page = await newPage(t, url)
  await page.getByTestId('sign-in-learner1').click()
  await waitForPage(page, { pending: 0, sessions: 0 })
  assert.match(await page.getByTestId('account').innerText(), /^learner1@/)
  await recordSession(page, session)
  await waitForPage(page, { sessions: 1, minutes: 12, words: 3, accuracy: 80, pending: 0, state: 'synced' })

  await signOut(page)
  await page.getByTestId('sign-in-learner2').click()
  await waitForPage(page, { sessions: 0, pending: 0 })
  assert.match(await page.getByTestId('account').innerText(), /^learner2@/)
  assert.deepEqual(page.problems, [])
})

test('a wrong password is told in words', async (t) => {
  const { url } = await serveDemo(t)
  const page = await newPage(t, url)
  await page.evaluate(() => localStorage.clear())
  await page.reload()
  await page.getByTestId('email').fill('learner1@example.com')
  await page.getByTestId('password').fill('not the password')
  await page.getByTestId('sign-in').click()
  await page.getByTestId('sign-in-problem').waitFor()
})

test('the page starts without a network from a cold browser, with its numbers and its queue', async (t) => {
  const first = await serveDemo(t)
  const page = await newPage(t, first.url)
  await signUp(page, newAccount())
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined))
  await setAirplane(page, true)
  await recordSession(page, session)
  await waitForPage(page, { sessions: 1, pending: 1, state: 'offline' })
  // The access token has run out by the time the learner comes back, and nobody is there to renew it.
  await page.evaluate((key) => {
    const kept = JSON.parse(localStorage.getItem(key))
    localStorage.setItem(key, JSON.stringify({ ...kept, expiresAtMs: 0 }))
  }, SESSION_KEY)
  await page.close()
  // Not killed: the demo's tokens are in localStorage, which a browser writes to the disk only seconds later.
  await browser.stop()
  await first.stop()
  await stage.fault({ kind: 'offline' })

  await browser.start()
  const again = await newPage(t, first.url)
  await waitForPage(again, { sessions: 1, minutes: 12, pending: 1, state: 'offline' })
  // Without airplane mode it tries, finds nobody, and stays signed in.
  await setAirplane(again, false)
  await waitFor(
    'the page to say that there is no connection',
    () => again.getByTestId('sync-text').textContent(),
    (text) => text.includes('no connection'),
  )
  await recordSession(again, session)
  await waitForPage(again, { sessions: 2, pending: 2 })

  await stage.clearFaults()
  const back = await serveDemo(t, Number(new URL(first.url).port))
  assert.equal(back.url, first.url)
  await again.reload()
  await waitForPage(again, { sessions: 2, pending: 0, state: 'synced' })
})

test('a second tab shows the same, and what is recorded in one is seen in the other', async (t) => {
  const { url } = await serveDemo(t)
  const page = await newPage(t, url)
  await signUp(page, newAccount())
  const second = await newPage(t, url)
  await recordSession(second, session)
  await waitForPage(page, { sessions: 1, minutes: 12, pending: 0, state: 'synced' })
  await page.close()
  await recordSession(second, session)
  await waitForPage(second, { sessions: 2, minutes: 24, pending: 0, state: 'synced' })
  assert.deepEqual(second.problems, [])
})

test('everything on the page can be reached by its name', async (t) => {
  const { url } = await serveDemo(t)
  const page = await newPage(t, url)
  await signUp(page, newAccount())
  await page.getByTestId('log').click()
  for (const name of ['Minutes', 'Descriptions', 'Questions', 'Correct', 'New words']) {
    assert.equal(await page.getByRole('spinbutton', { name, exact: true }).count(), 1, name)
  }
  assert.equal(await page.getByRole('radio', { name: 'Questions' }).count(), 1)
  await page.keyboard.press('Escape')
  assert.equal(await page.getByRole('switch', { name: 'Airplane mode' }).count(), 1)
  await page.setViewportSize({ width: 360, height: 740 })
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  assert.equal(overflow, 0, 'the page is wider than a phone')
  assert.equal((await readPage(page)).sessions, 0)
})
