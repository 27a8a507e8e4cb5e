// What the tests of all apps do: build one, serve it, use it in Chromium. Each app is steered by its address: which server, and whose
// mirror.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { after } from 'node:test'
import { promisify } from 'node:util'
import { serve } from '../../demo/serve.mjs'
import { assertArrived, inPostgres, startBrowser, startStage, waitFor } from '../browser/harness.mjs'
import { apps } from './install.mjs'

const run = promisify(execFile)
const NEXT = { NEXT_TELEMETRY_DISABLED: '1', CI: '1', APPS_ROOT: apps }

const undo = []
after(async () => {
  for (const stop of undo.reverse()) await stop()
})

export const bin = (name) => `${apps}/node_modules/.bin/${name}`

/** Fails with what the program said, which `execFile` keeps apart. */
export async function build(program, args, app, env = {}) {
  const options = { cwd: `${apps}/${app}`, env: { ...process.env, ...env } }
  const { stdout } = await run(program, args, options).catch((error) => {
    throw new Error(`${app}: ${program} failed\n${error.stdout}${error.stderr}`)
  })
  return stdout
}

export const checkTypes = (app) => build(bin('tsc'), ['-p', '.'], app)

export async function serveFolder(folder, policy) {
  const server = await serve({ mounts: { '/': folder }, ...(policy && { policy }) })
  undo.push(server.stop)
  return server.url
}

/** Next, for the app in a folder: `next` is whose, and builds of one app have a folder each. */
export const buildNext = (next, app, args, folder) =>
  build(process.execPath, [`${next}/dist/bin/next`, 'build', ...args], app, { ...NEXT, NEXT_DIST: folder })

/** Has Next serve an app, until the file's tests are over. */
export function startNext(next, app, command, folder) {
  const args = [`${next}/dist/bin/next`, ...command, '--port', '0', '--hostname', '127.0.0.1']
  const env = { ...process.env, ...NEXT, NEXT_DIST: folder }
  return started(spawn(process.execPath, args, { cwd: `${apps}/${app}`, env, stdio: ['ignore', 'pipe', 'inherit'] }), 'Next')
}

/** Vite's development server. */
export function startVite(program, app, flags = []) {
  const args = [program, '--port', '0', '--host', '127.0.0.1', ...flags]
  return started(spawn(process.execPath, args, { cwd: `${apps}/${app}`, stdio: ['ignore', 'pipe', 'inherit'] }), 'Vite')
}

/** The address that a server prints; it goes with the file's tests. */
function started(child, name) {
  const ended = new Promise((resolve) => child.once('close', resolve))
  undo.push(async () => {
    child.kill('SIGTERM')
    await ended
  })
  return new Promise((resolve, reject) => {
    let said = ''
    createInterface({ input: child.stdout }).on('line', (line) => {
      said += `${line}\n`
      const plain = line.replace(/\u001b\[\d+m/g, '')
      const local = /(?:Local|➜).*?(http:\/\/[^\s/]+)/.exec(plain)?.[1]
      if (local) resolve(local)
    })
    child.once('close', () => reject(new Error(`${name} did not start:\n${said}`)))
  })
}

/** A backend and a browser for the tests of a file. */
export async function setTheStage() {
  const stage = await startStage()
  const browser = await startBrowser(stage)

  /** The app's address for a learner. */
  function address(url, learner, { token = learner?.token } = {}) {
    const query = new URLSearchParams({ url: stage.backend.url, publishableKey: stage.backend.publishable_key })
    if (learner) query.set('userId', learner.id)
    if (token) query.set('token', token)
    return `${url}/?${query}`
  }

  async function openPage(t, url) {
    const page = await browser.context.newPage()
    t.after(() => page.close().catch(() => undefined))
    page.problems = []
    page.on('pageerror', (error) => page.problems.push(error.message))
    page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()))
    page.workersSeen = 0
    page.on('worker', () => page.workersSeen++)
    await page.goto(url)
    return page
  }

  /** What every app must do: write without a network, keep it over a reload, and send it once. */
  async function recordsAndSyncs(page, learner) {
    await waitForText(page, 'state', 'open')
    await waitForText(page, 'sessions', 0)
    await stage.fault({ kind: 'offline' })
    await page.click('#record')
    await waitForText(page, 'sessions', 1)
    await waitForText(page, 'pending', 1)
    assert.deepEqual((await inPostgres(stage, learner)).ids, [])
    await page.reload()
    await waitForText(page, 'sessions', 1)
    await waitForText(page, 'pending', 1)
    await stage.clearFaults()
    // The network is back; a browser says so, and nobody has to touch anything.
    await page.evaluate(() => window.dispatchEvent(new Event('online')))
    await waitForText(page, 'pending', 0)
    const { ids } = await inPostgres(stage, learner)
    assert.equal(ids.length, 1)
    await assertArrived(stage, learner, ids)
  }

  return { ...stage, browser, address, openPage, recordsAndSyncs }
}

export const text = (page, id) => page.locator(`#${id}`).textContent()
export const waitForText = (page, id, expected) =>
  waitFor(`#${id} to be ${expected}`, () => text(page, id), (seen) => seen === String(expected))

/** What the browser itself reports of a server that is away is no fault of the app. */
export const ownProblems = (page) => page.problems.filter((problem) => !problem.includes('Failed to load resource'))
