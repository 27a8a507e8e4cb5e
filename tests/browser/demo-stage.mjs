// What the tests of the demo stand on: the built app, its tables in a real backend, and a learner of each page's own.

import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { serve } from '../../demo/serve.mjs'
import { goTo, signUp } from '../../demo/tools/page.mjs'
import { startBrowser, startStage, waitFor } from './harness.mjs'

export const root = fileURLToPath(new URL('../..', import.meta.url))
const mounts = { '/': `${root}demo/dist` }

export const byId = (page, id) => page.getByTestId(id)

/** The backend, a browser, and how a page of the app is opened. */
export async function startDemo() {
  const stage = await startStage()
  await stage.database.query(readFileSync(`${root}demo/tables.sql`, 'utf8'))
  const browser = await startBrowser(stage)

  async function open(t, path = '/', start = serve) {
    const server = await start({ mounts, config: stage.backend })
    t.after(server.stop)
    const page = await browser.context.newPage()
    t.after(() => page.close().catch(() => undefined))
    page.problems = []
    page.on('pageerror', (error) => page.problems.push(error.message))
    page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()))
    await page.goto(`${server.url}${path}`)
    return page
  }

  /** A page with a learner of its own. */
  async function openSignedIn(t) {
    const page = await open(t)
    const account = { email: `${randomUUID()}@example.com`, password: randomUUID() }
    await signUp(page, account)
    const { rows } = await stage.database.query('SELECT id FROM auth.users WHERE email = $1', [account.email])
    return { page, learner: rows[0].id }
  }

  return { stage, open, openSignedIn }
}

/** Twelve weeks of practice, so that the charts have something to draw. */
export async function fill(page) {
  await goTo(page, 'progress')
  await byId(page, 'sample').click()
  await byId(page, 'sample').waitFor({ state: 'detached' })
  await waitFor('the words', () => page.locator('.stacked').count(), (count) => count === 1)
}
