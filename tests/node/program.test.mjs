// What only a program has: it ends without a word, shares its mirror with others, lacks its native part; and that no secret is told.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { open } from '../../wasm/dist/node/index.js'
import { MareaError } from '../../wasm/dist/index.js'
import { addonFile } from './device.mjs'

const addon = addonFile()
const entry = new URL('../../wasm/dist/node/index.js', import.meta.url).href
const folders = []
after(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })))

const newFolder = () => {
  const folder = mkdtempSync(join(tmpdir(), 'marea-node-'))
  folders.push(folder)
  return folder
}

const options = (dir, userId = randomUUID(), others = {}) => ({
  dir,
  addon,
  url: 'http://127.0.0.1:9',
  publishableKey: 'sb_publishable_test',
  userId,
  getAccessToken: () => null,
  ...others,
})

const failureOf = async (call) => {
  try {
    await call()
    return null
  } catch (error) {
    return error
  }
}

/** Runs a program that has a mirror open as `marea`; gives what it prints. */
const run = promisify(execFile)
async function program(given, code) {
  const source = `import { open } from ${JSON.stringify(entry)}
const marea = await open({ ...${JSON.stringify(given)}, getAccessToken: () => null })
${code}`
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', source], { timeout: 30_000 })
  return stdout.trim()
}

test('a program ends by itself with a mirror open, and what it was told is there', async () => {
  const given = options(newFolder())
  const id = await program(given, "console.log((await marea.recordSession({ session_type: 'qa', duration_minutes: 3 })).id)")
  const marea = await open(given)
  assert.deepEqual((await marea.pending()).map((mutation) => mutation.id), [id])
  assert.equal((await marea.status()).storage, 'file')
  await marea.close()
})

test('what is called before close, and not waited for, is done', async () => {
  const given = options(newFolder())
  const marea = await open(given)
  const wanted = Array.from({ length: 50 }, () => marea.recordSession({ session_type: 'qa' }))
  await marea.close()
  assert.equal(new Set((await Promise.all(wanted)).map(({ id }) => id)).size, 50)
  assert.equal((await failureOf(() => marea.progress())).code, 'closed')
  await marea.close()
  const again = await open(given)
  assert.equal((await again.progress()).total_sessions, 50)
  assert.equal(await again.erase(), 50)
  assert.deepEqual(readdirSync(given.dir).filter((name) => name.endsWith('.sqlite3')), [])
})

test('calls that are not waited for are done in their order', async () => {
  const marea = await open(options(newFolder()))
  const [, , before, , after] = await Promise.all([
    marea.setOnline(false),
    marea.recordSession({ session_type: 'qa' }),
    marea.progress(),
    marea.recordSession({ session_type: 'qa' }),
    marea.progress(),
  ])
  assert.deepEqual([before.total_sessions, after.total_sessions], [1, 2])
  const many = Array.from({ length: 1_000 }, () => marea.recordSession({ session_type: 'qa' }))
  const ids = (await Promise.all(many)).map(({ id }) => id)
  assert.deepEqual((await marea.pending()).slice(2).map(({ id }) => id), ids)
  await marea.close()
})

test('a program hears of what another one writes, and only its owner may read the files', async () => {
  // Following a value does not keep a program from ending either.
  const alive = setInterval(() => undefined, 60_000)
  const given = options(newFolder())
  const marea = await open(given)
  const told = new Promise((resolve) => marea.watchProgress((progress) => progress.total_sessions === 2 && resolve(progress)))
  await program(given, "await marea.recordSession({ session_type: 'qa' }); await marea.recordSession({ session_type: 'qa' })")
  assert.equal((await told).total_sessions, 2)
  clearInterval(alive)
  for (const name of readdirSync(given.dir)) assert.equal(statSync(join(given.dir, name)).mode & 0o077, 0, name)
  await marea.close()
})

test('threads have the mirror open too, and take nothing with them when they end', async () => {
  const { getAccessToken: _, ...plain } = options(newFolder())
  const marea = await open({ ...plain, getAccessToken: () => null })
  const thread = (goesOn) => new Worker(new URL('worker.mjs', import.meta.url), { workerData: { options: plain, goesOn } })
  const ends = await Promise.all([1, 2].map(() => new Promise((resolve) => thread(false).once('exit', resolve))))
  assert.deepEqual(ends, [0, 0])
  const ended = thread(true)
  await new Promise((resolve) => ended.once('message', resolve))
  await ended.terminate()
  assert.equal((await marea.progress()).total_sessions, 3)
  await marea.close()
})

test('a native part that is not there, or is none, is told by what to do', async () => {
  const { addon: _, ...given } = options(newFolder())
  const missing = await failureOf(() => open(given))
  assert.ok(missing instanceof MareaError)
  assert.deepEqual([missing.code, missing.retry], ['worker_failed', false])
  assert.match(missing.message, /install @marea\/client-node-\w+-\w+ beside @marea\/client/)
  const file = join(given.dir, 'no.node')
  writeFileSync(file, 'no addon')
  assert.equal((await failureOf(() => open({ ...given, addon: file }))).code, 'worker_failed')
})

test('options that cannot be right are refused by their names', async () => {
  const given = options(newFolder())
  for (const [wrong, begins] of [
    [{ dir: undefined }, 'dir: '],
    [{ dir: '' }, 'dir: '],
    [{ dir: 7 }, 'dir: '],
    [{ addon: 7 }, 'addon: '],
    [{ url: 'http://example.com' }, 'url: '],
    [{ publishableKey: 'sb_secret_x' }, 'publishableKey: '],
    [{ userId: 'ada' }, 'userId: '],
    [{ dayStartsAt: 7 }, 'dayStartsAt: '],
    [{ schema: { tables: [{ name: 1 }] } }, ''],
  ]) {
    const failure = await failureOf(() => open({ ...given, ...wrong }))
    assert.equal(failure?.code, 'invalid_input', JSON.stringify(wrong))
    assert.ok(failure.message.startsWith(begins), failure.message)
    assert.doesNotMatch(failure.message, /sb_secret_x/)
  }
  writeFileSync(join(given.dir, 'file'), '')
  const failure = await failureOf(() => open({ ...given, dir: join(given.dir, 'file') }))
  assert.equal(failure?.code, 'storage_failed')
})

test('the vault opens and closes, its keys are bytes of their own, and no error holds a secret', async () => {
  const marea = await open(options(newFolder()))
  const passphrase = 'orbit velvet canoe drum'
  await marea.keys.setUp(passphrase)
  await marea.keys.put('openai', 'sk-proj-0123456789abca1B2')
  let kept
  const text = await marea.keys.use('openai', (key) => {
    kept = key
    return new TextDecoder().decode(key)
  })
  assert.equal(text, 'sk-proj-0123456789abca1B2')
  assert.ok(kept.every((byte) => byte === 0))
  await marea.keys.lock()
  const failures = [
    await failureOf(() => marea.keys.unlock('another passphrase of mine')),
    await failureOf(() => marea.keys.put('openai', 'sk-proj-secret')),
    await failureOf(() => marea.keys.recover('not-a-code', passphrase)),
  ]
  assert.deepEqual(failures.map((failure) => failure?.code), ['wrong_passphrase', 'vault_locked', 'invalid_input'])
  assert.doesNotMatch(failures.map((failure) => failure.message).join('\n'), /passphrase of mine|sk-proj|not-a-code|canoe/)
  const outcome = await marea.keys.unlock(passphrase)
  assert.deepEqual(outcome, { recovery_code: undefined, passphrase_is_old: false, other_passphrase: [], rewritten: 0 })
  await marea.close()
})

test("the app's own null stays a null, and what is absent is undefined", async () => {
  const marea = await open(options(newFolder(), randomUUID(), { online: false }))
  const { id } = await marea.createExport({ export_type: 'progress', export_format: 'csv', filters: { from: null } })
  const kept = await marea.export(id)
  assert.deepEqual([kept.filters, kept.file_url, 'file_url' in kept], [{ from: null }, undefined, true])
  assert.equal(await marea.export(randomUUID()), null)
  assert.equal((await marea.status()).last_error, undefined)
  await marea.close()
})

test("a guest's work comes into an account once", async () => {
  const dir = newFolder()
  const guest = await open(options(dir, null))
  assert.ok(guest.isGuest)
  await guest.recordSession({ session_type: 'qa', duration_minutes: 5 })
  await guest.close()
  const userId = randomUUID()
  const marea = await open(options(dir, userId, { claimGuest: true }))
  assert.equal((await marea.progress()).total_sessions, 1)
  assert.deepEqual(await marea.claim(), { claimed: 0, known: 0, kept: 0 })
  await marea.close()
})
