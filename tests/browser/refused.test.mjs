// Browsers that have storage and do not give it: the mirror is kept in the next best place, and the status says which and why.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { makeProfile, startChromium } from '../../demo/tools/chromium.mjs'
import { openMarea, progress, record, servePage, startBrowser, status, untilReady } from './harness.mjs'
import { serveSlowly } from './slow.mjs'

const newLearner = () => ({ id: randomUUID(), token: null })
const OFFLINE = { online: false }

let stage, browser
before(async () => {
  stage = { backend: { url: 'http://127.0.0.1:9', anon_key: 'anon' }, ...(await servePage()) }
  browser = await startBrowser(stage)
})

/** A page whose workers run this before all else: a browser that has the functions and refuses what they are for. */
async function pageWhere(t, refusal) {
  const page = await browser.newPage(t)
  await page.evaluate(() => localStorage.clear())
  await page.route('**/worker.js', async (route) => {
    const response = await route.fetch()
    await route.fulfill({ response, body: inWorkers(refusal, await response.text()) })
  })
  return page
}

/** The same file is loaded into the page when no worker will do. */
const inWorkers = (refusal, text) => `if (typeof document === 'undefined') { ${refusal} }\n${text}`

const refuses = (method, error) => `${method} = () => Promise.reject(${error})`
const dom = (name) => `new DOMException('refused', '${name}')`
const HANDLE = 'FileSystemFileHandle.prototype.createSyncAccessHandle'

const REFUSALS = [
  refuses(HANDLE, dom('NotSupportedError')),
  refuses(HANDLE, dom('SecurityError')),
  refuses(HANDLE, dom('NotAllowedError')),
  refuses(HANDLE, dom('UnknownError')),
  refuses(HANDLE, dom('AbortError')),
  refuses(HANDLE, 'new TypeError("no such thing")'),
  refuses('FileSystemDirectoryHandle.prototype.getFileHandle', dom('NotAllowedError')),
  refuses('FileSystemDirectoryHandle.prototype.getDirectoryHandle', dom('NotSupportedError')),
  refuses('StorageManager.prototype.getDirectory', dom('SecurityError')),
  `delete FileSystemFileHandle.prototype.createSyncAccessHandle`,
  `delete globalThis.FileSystemSyncAccessHandle`,
  `FileSystemSyncAccessHandle.prototype.write = () => { throw ${dom('NotSupportedError')} }`,
  `FileSystemSyncAccessHandle.prototype.flush = () => { throw ${dom('InvalidModificationError')} }`,
]

for (const refusal of REFUSALS) {
  test(`where the file system is refused (${refusal.slice(0, 110)}), localStorage takes its place`, async (t) => {
    const page = await pageWhere(t, refusal)
    const learner = newLearner()
    await openMarea(page, stage, learner, OFFLINE)
    const { storage, storage_reason } = await status(page)
    assert.deepEqual([storage, storage_reason.code], ['local-storage', 'refused'])
    assert.match(storage_reason.message, /file system/)
    await record(page)
    await page.evaluate(() => window.marea.close())
    await openMarea(page, stage, learner, OFFLINE)
    assert.equal((await progress(page)).total_sessions, 1)
    assert.equal((await status(page)).storage_reason.code, 'kept_there')
  })
}

test('a mirror that is on the file system is not begun again elsewhere when a handle is refused for once', async (t) => {
  const page = await browser.newPage(t)
  const learner = newLearner()
  await openMarea(page, stage, learner, OFFLINE)
  assert.equal((await status(page)).storage_reason ?? null, null)
  await record(page)
  await page.evaluate(() => window.marea.close())
  const later = await browser.newPage(t)
  await later.route('**/worker.js', async (route) => {
    const response = await route.fetch()
    await route.fulfill({ response, body: inWorkers(REFUSALS[0], await response.text()) })
  })
  const options = { url: stage.backend.url, anonKey: 'anon', userId: learner.id, ...OFFLINE }
  const failure = await later.evaluate((options) => window.failureOf(() => window.openMarea(options)), options)
  assert.deepEqual([failure.code, failure.retry], ['storage_unavailable', true])
  assert.match(failure.message, /NotSupportedError/)
  await openMarea(page, stage, learner, OFFLINE)
  assert.equal((await progress(page)).total_sessions, 1)
})

test('the app hears why it has what it asked for', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, newLearner(), { ...OFFLINE, storage: 'memory' })
  assert.deepEqual([(await status(page)).storage, (await status(page)).storage_reason.code], ['memory', 'asked_for'])
})

/** A browser that was told to let no site, or no site in a frame, keep anything. */
async function strictBrowser(profile, flags = []) {
  const made = makeProfile()
  mkdirSync(join(made.folder, 'Default'))
  writeFileSync(join(made.folder, 'Default', 'Preferences'), JSON.stringify({ profile }))
  const strict = await startChromium(made, { ownGroup: true, flags })
  after(async () => {
    await strict.stop()
    made.remove()
  })
  return strict
}

async function worksInMemory(page, options) {
  const learner = newLearner()
  await openMarea(page, stage, learner, { ...OFFLINE, ...options })
  const { storage, storage_reason } = await status(page)
  assert.equal(storage, 'memory')
  assert.equal(storage_reason.code, options.storage ? 'asked_for' : 'refused')
  await record(page)
  assert.equal((await progress(page)).total_sessions, 1)
  assert.equal(await page.evaluate(() => window.marea.keys.status().then((keys) => keys.state)), 'not_set_up')
  await page.evaluate(() => window.marea.keys.setUp('orbit velvet canoe drum'))
  const kept = await page.evaluate(() => window.failureOf(() => window.marea.keys.rememberDevice()))
  assert.equal(kept?.code, 'storage_unavailable')
  assert.equal(await page.evaluate(() => window.marea.keys.unlockRemembered()), false)
  assert.equal(await page.evaluate(() => window.marea.erase()), 1)
}

test('where all site data is blocked, work goes on in memory, and erasing works', async (t) => {
  const strict = await strictBrowser({ default_content_setting_values: { cookies: 2 } })
  for (const options of [{}, { storage: 'memory' }]) {
    const page = await strict.context.newPage()
    t.after(() => page.close())
    await page.goto(stage.pageUrl)
    await untilReady(page)
    await worksInMemory(page, options)
  }
})

test('in a frame of another site whose storage is blocked, work goes on in memory', async (t) => {
  // As it is where frames are not given a store of their own for each site that they are shown in.
  const blocked = { cookie_controls_mode: 1, block_third_party_cookies: true }
  const strict = await strictBrowser(blocked, ['--disable-features=ThirdPartyStoragePartitioning'])
  const page = await strict.context.newPage()
  t.after(() => page.close())
  // One that lets itself be shown in a frame.
  const server = await serveSlowly()
  await page.goto(server.url)
  for (const options of [{}, { storage: 'memory' }]) {
    const source = server.url.replace('127.0.0.1', 'localhost')
    await page.setContent(`<iframe src="${source}"></iframe>`)
    const frame = await (await page.waitForSelector('iframe')).contentFrame()
    await untilReady(frame)
    await worksInMemory(frame, options)
  }
})
