// Two versions of the app open at once, and mirrors that are gone, damaged or of another version. No server.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { load, openMarea, progress, record, servePage, startBrowser, status, waitFor } from './harness.mjs'
import { beforeTables, nextMirror, nextProtocol } from './later.mjs'

const NOWHERE = { url: 'http://127.0.0.1:9', anon_key: 'anon' }

const made = []
after(() => made.forEach((folder) => rmSync(folder, { recursive: true, force: true })))

let stage, browser
before(async () => {
  const versions = { '/next-mirror/': await nextMirror(made), '/next-protocol/': await nextProtocol(made), '/before-tables/': await beforeTables(made) }
  stage = { backend: NOWHERE, ...(await servePage(versions)) }
  browser = await startBrowser(stage, { plain: true })
})

const newLearner = () => ({ id: randomUUID(), token: null })
const totalOf = async (page) => (await progress(page)).total_sessions
const leads = (page) => page.evaluate(() => window.marea.leads)

async function openVersion(t, version, learner) {
  const page = await browser.newPage(t)
  await load(page, stage, version)
  await openMarea(page, stage, learner)
  return page
}

test('a tab with a newer mirror takes the lead, and the old tab is served by it', async (t) => {
  const learner = newLearner()
  const old = await openVersion(t, 'marea', learner)
  await record(old)
  const next = await openVersion(t, 'next-mirror', learner)
  await waitFor('the newer one to lead', () => leads(next), (it) => it)
  await record(old)
  await record(next)
  assert.deepEqual([await totalOf(old), await totalOf(next)], [3, 3])
  assert.equal(await leads(old), false)
  // The newer one has not touched the mirror's schema here, so the old one may lead again.
  await next.close()
  assert.equal(await totalOf(old), 3)
})

test('a tab from before there were tables goes on beside a newer one, and never serves it', async (t) => {
  const learner = newLearner()
  const old = await openVersion(t, 'before-tables', learner)
  await record(old)
  const next = await openVersion(t, 'marea', learner)
  assert.equal(await leads(next), true)
  assert.equal((await next.evaluate(() => window.failureOf(() => window.marea.table('words').list())))?.code, 'unknown_table')
  await Promise.all([record(old), record(next)])
  assert.deepEqual([await totalOf(old), await totalOf(next)], [3, 3])
  const another = await openVersion(t, 'before-tables', learner)
  await record(another)
  assert.deepEqual([await totalOf(next), await leads(next)], [4, true])
})

test('a tab whose messages the newer one does not speak says so, and nothing is lost', async (t) => {
  const learner = newLearner()
  const old = await openVersion(t, 'marea', learner)
  await record(old)
  const next = await openVersion(t, 'next-protocol', learner)
  assert.equal(await totalOf(next), 1)
  const failureOf = () => old.evaluate(() => window.failureOf(() => window.marea.recordSession({ session_type: 'qa' })))
  const failure = await waitFor('the old tab to say so', failureOf, (seen) => seen !== null)
  assert.deepEqual([failure.code, failure.retry], ['app_outdated', false])
  assert.match(failure.message, /reload/i)
  const third = await browser.newPage(t)
  const refused = await third.evaluate(
    (options) => window.failureOf(() => window.openMarea(options)),
    { url: NOWHERE.url, anonKey: NOWHERE.anon_key, userId: learner.id },
  )
  assert.equal(refused?.code, 'app_outdated')
  assert.equal(await totalOf(next), 1)
})

/** Changes bytes of the mirror's file in its pool, with nobody having it open. */
const damage = (page, learner, at, bytes) =>
  page.evaluate(
    async ([userId, at, bytes]) => {
      const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('.marea')
      const walk = async function* (folder) {
        for await (const entry of folder.values()) {
          if (entry.kind === 'directory') yield* walk(entry)
          else yield entry
        }
      }
      let changed = 0
      for await (const file of walk(await root.getDirectoryHandle(userId))) {
        const header = await (await file.getFile()).slice(0, 9).text()
        if (header !== 'mirror.db') continue
        const name = await (await file.getFile()).slice(0, 512).text()
        if (name.replaceAll('\0', '') !== 'mirror.db') continue
        const writer = await file.createWritable({ keepExistingData: true })
        await writer.write({ type: 'write', position: 4096 + at, data: new Uint8Array(bytes) })
        await writer.close()
        changed++
      }
      return changed
    },
    [learner.id, at, bytes],
  )

/**
 * Closes the mirror, and waits until its files are free. One that was opened offline has no request under way, which would
 * have the worker ended instead: then the last commits would still be in the log, and lie over what `damage` changes.
 */
async function closeMarea(page) {
  await page.evaluate(() => window.marea.close())
}

test('a mirror that a newer version has upgraded is left alone, and the app is told', async (t) => {
  const learner = newLearner()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { online: false })
  await record(page)
  await closeMarea(page)
  // `user_version`, at byte 60 of SQLite's header, and the version that is for readers beside it.
  assert.equal(await damage(page, learner, 60, [0, 0, 0, 99]), 1)
  const refused = await page.evaluate(
    (options) => window.failureOf(() => window.openMarea(options)),
    { url: NOWHERE.url, anonKey: NOWHERE.anon_key, userId: learner.id },
  )
  assert.deepEqual([refused?.code, refused?.retry], ['mirror_newer', false])
})

test('what a damaged mirror had not sent is in the new one', async (t) => {
  const learner = newLearner()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { online: false })
  await record(page)
  await record(page)
  await closeMarea(page)
  assert.equal(await damage(page, learner, 0, Array.from({ length: 16 }, () => 0x78)), 1)
  await openMarea(page, stage, learner)
  const told = await status(page)
  assert.deepEqual([told.recovery, told.pending], ['set-aside', 2])
  assert.match(await page.evaluate(() => window.marea.diagnostics()), /mirror_set_aside.*\n.*2 of 2/)
  assert.equal(await totalOf(page), 2)
})

test('a tab that dies between setting a mirror aside and restoring its queue leaves that to the next one', async (t) => {
  const learner = newLearner()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { online: false })
  await record(page)
  await closeMarea(page)
  assert.equal(await damage(page, learner, 0, Array.from({ length: 16 }, () => 0x78)), 1)
  // What such a tab leaves: the next generation, begun.
  await page.evaluate(async (userId) => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('.marea')
    await root.getDirectoryHandle(`${userId}.1`, { create: true })
  }, learner.id)
  await openMarea(page, stage, learner)
  const told = await status(page)
  assert.deepEqual([told.recovery, told.pending, await totalOf(page)], ['set-aside', 1, 1])
  // Once.
  await load(page, stage)
  await openMarea(page, stage, learner)
  assert.deepEqual([await totalOf(page), (await status(page)).recovery ?? null], [1, null])
})

test('a damaged mirror is set aside, and told', async (t) => {
  const learner = newLearner()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { online: false })
  await record(page)
  await closeMarea(page)
  assert.equal(await damage(page, learner, 0, Array.from({ length: 4096 }, () => 0x78)), 1)
  await openMarea(page, stage, learner)
  assert.equal((await status(page)).recovery, 'set-aside')
  await record(page)
  const folders = () =>
    page.evaluate(async (userId) => {
      const names = []
      const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('.marea')
      for await (const name of root.keys()) if (name.startsWith(userId)) names.push(name)
      return names.sort()
    }, learner.id)
  assert.deepEqual(await folders(), [learner.id, `${learner.id}.1`])
  await load(page, stage)
  await openMarea(page, stage, learner)
  assert.deepEqual([await totalOf(page), (await status(page)).recovery ?? null], [1, null])
})

test('a mirror that the browser has evicted is told from one that never was', async (t) => {
  const learner = newLearner()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  assert.equal((await status(page)).recovery ?? null, null)
  await record(page)
  await closeMarea(page)
  await page.evaluate(async (userId) => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('.marea')
    await root.removeEntry(userId, { recursive: true })
  }, learner.id)
  await openMarea(page, stage, learner)
  const told = await status(page)
  assert.equal(told.recovery, 'evicted')
  assert.equal(await totalOf(page), 0)
  const seen = await waitFor('the storage to be told', () => status(page), (seen) => seen.quota_bytes > 0)
  assert.equal(typeof seen.persisted, 'boolean')
})
