// What every browser test stands on: a real backend, the built package in a page, and a real Chromium.
//
// Started once for a test file, stopped also when a test fails. Anything that is missing is an error that names it.
//
// With MAREA_FACE=node the same tests run against `@marea/client/node`: a page is then a program of Node's (tests/node/device.mjs).

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { serve } from '../../demo/serve.mjs'
import { makeProfile, startChromium } from '../../demo/tools/chromium.mjs'
import { waitFor } from '../../demo/tools/wait.mjs'
import { startDevice } from '../node/device.mjs'
import { setFault, signUp, startBackend } from './backend.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Whether the tests run in Node, and not in a browser. */
export const inNode = process.env.MAREA_FACE === 'node'
/** For what only a browser has: tabs that hear of each other, workers, pages that freeze. */
export const browserTest = inNode ? () => undefined : test
// A name that is not `localhost`: what comes from there over http is not a secure context.
export const INSECURE_HOST = 'insecure.test'
const FLAGS = [`--host-resolver-rules=MAP ${INSECURE_HOST} 127.0.0.1`]

// Here and not in a `before`: what a hook registers is over with the hook.
const undo = []
after(async () => {
  for (const step of undo.reverse()) await step()
})

/** Serves the test page and the built package, and what else is mounted, until the file's tests are over. */
export async function servePage(mounts = {}) {
  const dist = `${root}wasm/dist`
  if (!existsSync(`${dist}/index.js`)) throw new Error('wasm/dist is missing. Run `npm run build -w wasm` first.')
  if (inNode) return { pageUrl: null }
  const page = await serve({ mounts: { ...mounts, '/': `${root}tests/browser/page`, '/marea/': dist } })
  undo.push(page.stop)
  return { pageUrl: page.url }
}

/** Starts the page's server and a backend, until the file's tests are over. */
export async function startStage(mounts, options) {
  const page = await servePage(mounts)
  const backend = await startBackend(options)
  undo.push(backend.stop)
  const database = new pg.Pool({ connectionString: backend.ready.database_url, max: 2 })
  // The server goes down at the end with connections open; that is no failure.
  database.on('error', () => undefined)
  undo.push(() => database.end())
  return {
    ...page,
    backend: backend.ready,
    database,
    signUp: () => signUp(backend.ready),
    fault: (fault) => setFault(backend.ready, fault),
    clearFaults: () => setFault(backend.ready, null),
    faultsFired: () => countFired(backend.ready),
  }
}

/** How many calls the faults that are switched on have happened to. */
async function countFired(backend) {
  const answer = await fetch(`${backend.url}/_marea/faults`, {
    headers: { authorization: `Bearer ${backend.service_key}` },
  })
  assert.ok(answer.ok, `the faults were not listed: HTTP ${answer.status}`)
  return (await answer.json()).reduce((sum, fault) => sum + fault.fired, 0)
}

/** A browser with a profile of its own; `kill` and `start` again on the same profile. Ends with the file's tests. */
export async function startBrowser(stage, { plain = false, flags = [] } = {}) {
  if (inNode) return startDevice(undo)
  const profile = makeProfile()
  let running = null
  undo.push(async () => {
    await running?.stop()
    profile.remove()
  })
  const browser = {
    async start() {
      running = await startChromium(profile, { ownGroup: true, flags: [...FLAGS, ...flags], plain })
    },
    /** Ends it as a person would. */
    async stop() {
      await running.stop()
      running = null
    },
    /** Ends it as a crash would: every process at once, nothing written down. */
    async kill() {
      await running.kill()
      running = null
    },
    get version() {
      return running.version
    },
    get context() {
      return running.context
    },
    /** A new tab with the test page, closed after the test. */
    async newPage(test) {
      const page = await running.context.newPage()
      test.after(() => page.close().catch(() => undefined))
      page.problems = []
      page.on('pageerror', (error) => page.problems.push(error.message))
      await load(page, stage)
      return page
    },
  }
  await browser.start()
  return browser
}

/** Loads the test page (again), up to where the package can be called. */
export async function load(page, stage, version = 'marea') {
  if (inNode) return page.start()
  await page.goto(`${stage.pageUrl}/?package=/${version}/`)
  await untilReady(page)
}

/** Up to where the package can be called. By the clock, because a hidden tab has no frames to wait for. */
export const untilReady = (page) => inNode || page.waitForFunction(() => window.ready === true, undefined, { polling: 50 })

/** Opens the learner's mirror in the page. */
export function openMarea(page, stage, learner, options = {}) {
  const { token = learner.token, fresh = null, url = stage.backend.url, ...others } = options
  const all = { url, publishableKey: stage.backend.publishable_key ?? stage.backend.anon_key, userId: learner.id, ...others }
  return page.evaluate(
    ([all, token, fresh]) => {
      window.tokens.now = token
      window.tokens.fresh = fresh
      return window.openMarea(all)
    },
    [all, token, fresh],
  )
}

export const record = (page, input = { session_type: 'qa', duration_minutes: 10, qa_attempts: 4, qa_correct: 3 }) =>
  page.evaluate((input) => window.marea.recordSession(input), input)

export const progress = (page) => page.evaluate(() => window.marea.progress())
export const status = (page) => page.evaluate(() => window.marea.status())
export const sync = (page) => page.evaluate(() => window.marea.sync())

/** Waits until nothing is left to send. */
export const waitUntilSent = (page) =>
  waitFor('everything sent', () => status(page), (seen) => seen.pending === 0 && seen.connection === 'online')

/** The sessions of a learner that Postgres has, each by its id, and what it makes of them. */
export async function inPostgres(stage, learner) {
  const sessions = await stage.database.query('SELECT id FROM public.sessions WHERE user_id = $1 ORDER BY id', [learner.id])
  const totals = await stage.database.query('SELECT total_sessions FROM public.user_progress WHERE user_id = $1', [
    learner.id,
  ])
  return { ids: sessions.rows.map((row) => row.id), total: totals.rows[0]?.total_sessions ?? 0 }
}

/** Asserts that exactly these sessions arrived, each once. */
export async function assertArrived(stage, learner, ids) {
  const there = await inPostgres(stage, learner)
  assert.deepEqual(there.ids, [...ids].sort())
  assert.equal(there.total, ids.length, 'total_sessions')
}

export { waitFor }
