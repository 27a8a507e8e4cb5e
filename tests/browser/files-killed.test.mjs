// `kill -9` of the page, the browser and the backend, Postgres along with it, in whatever state files are: each that was acknowledged arrives
// once and whole. MAREA_KILLS says how often; the command is killed in tests/tests/desktop/files.rs.

import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import pg from 'pg'
import { setFault, signUp, startBackend } from './backend.mjs'
import { BYTES, files, filesOf, kept, read } from './file-stage.mjs'
import { openMarea, servePage, startBrowser, status, waitFor } from './harness.mjs'
import { takeOver } from './tabs.mjs'

const KILLS = Number(process.env.MAREA_KILLS ?? 6)

let folder, port, backend, stage, browser
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'marea-killed-'))
  // Its Postgres is another user's where the tests are root's.
  chmodSync(folder, 0o755)
  port = await new Promise((resolve) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
  stage = await servePage()
  await start()
  browser = await startBrowser(stage, { plain: true })
})
after(async () => {
  await stage?.database?.end()
  await backend?.stop()
  if (folder) rmSync(folder, { recursive: true, force: true })
})

/** The backend, at the same address as before. */
async function start() {
  backend = await startBackend({ args: ['--data', join(folder, 'data'), '--port', String(port)] })
  const database = new pg.Pool({ connectionString: backend.ready.database_url, max: 2 })
  database.on('error', () => undefined)
  Object.assign(stage, { backend: backend.ready, database })
}

test('killed in any state each file that was acknowledged arrives once and whole, and no bytes stay without a row', async (t) => {
  const learner = await signUp(backend.ready)
  const promised = new Map()
  const states = new Map()
  let page
  let goal = 0
  // A few more than are waited for, and no more: some files are always under way, and two hundred kills leave no thousands.
  const promise = async (id, sha) => {
    promised.set(id, sha)
    while (promised.size > goal + 3) await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const openPage = async () => {
    page = await browser.newPage(t)
    await page.exposeFunction('promised', promise)
    await openMarea(page, stage, learner)
    await page.evaluate((make) => {
      const bytes = new Function(`return ${make}`)()
      // Where files come faster than a slow machine sends them, their quota is full after a while.
      window.kept = async (input) => {
        for (;;) {
          try {
            return await window.marea.createExport(input)
          } catch (error) {
            if (error.code !== 'storage_full') throw error
            await new Promise((resolve) => setTimeout(resolve, 100))
          }
        }
      }
      window.stop = false
      window.writing = (async () => {
        for (let seed = 0; !window.stop; seed++) {
          const file = bytes([10, 50_000, 7 << 20][seed % 3], seed)
          const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', file))
          const { id } = await window.kept({ export_type: 'x', export_format: 'bin', file })
          await window.promised(id, Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join(''))
        }
      })()
    }, BYTES)
  }
  await openPage()
  for (let kill = 1; kill <= KILLS; kill++) {
    goal = promised.size + 1 + (kill % 4)
    await waitFor('files to be kept', () => promised.size, (size) => size >= goal, 120_000)
    const victim = ['page', 'browser', 'backend'][kill % 3]
    const found = await files(page)
    for (const state of new Set(found.map((file) => file.state))) states.set(`${victim}, ${state}`, 1 + (states.get(`${victim}, ${state}`) ?? 0))
    if (victim === 'backend') {
      await backend.kill()
      await stage.database.end()
      await start()
      await setFault(backend.ready, null)
      continue
    }
    if (victim === 'page') await takeOver.killed(browser, page)
    else {
      await browser.kill()
      await browser.start()
    }
    await openPage()
  }
  goal = Infinity
  await page.evaluate(() => {
    window.stop = true
    return window.writing
  })
  const isUp = async () => {
    await page.evaluate(() => window.marea.sync())
    return status(page)
  }
  await waitFor('all uploaded', isUp, ({ files, pending }) => files.waiting === 0 && pending === 0, 300_000)
  const there = await filesOf(stage)(learner)
  for (const [id, sha] of promised) {
    const found = there.filter(({ name }) => name.split('/')[1] === id)
    assert.deepEqual(found.map(({ name }) => name), [`${learner.id}/${id}/${sha}.bin`])
    assert.equal((await read(page, id)).sha256, sha)
  }
  const known = new Set((await files(page)).map((file) => file.export_id))
  for (const name of await kept(page, learner)) assert.ok(known.has(name.split('.')[0]), `bytes without a row: ${name}`)
  assert.deepEqual(there.filter(({ name }) => !name.startsWith(`${learner.id}/`)), [])
  // Whatever was killed, it was also while files waited, were under way and were there.
  for (const state of ['waiting', 'uploading', 'uploaded']) assert.ok(KILLS < 30 || [...states.keys()].some((seen) => seen.endsWith(state)), `never ${state}`)
  t.diagnostic(`${KILLS} kills, ${promised.size} files promised, ${there.length} arrived; while files were ${JSON.stringify(Object.fromEntries(states))}`)
})
