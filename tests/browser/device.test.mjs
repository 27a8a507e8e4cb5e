// What the device alone has to stand: it is opened, written to, reloaded, with a second tab and a second user. No server.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import { load, openMarea, progress, record, servePage, startBrowser, status, waitFor } from './harness.mjs'

// Nothing listens there: these tests need no backend, only the address of one.
const NOWHERE = { url: 'http://127.0.0.1:9', anon_key: 'anon' }

let stage, browser
before(async () => {
  stage = { backend: NOWHERE, ...(await servePage()) }
  browser = await startBrowser(stage)
})

const newLearner = () => ({ id: randomUUID(), token: null })

const failureOfOpening = (page, learner, options = {}) =>
  page.evaluate((options) => window.failureOf(() => window.openMarea(options)), {
    url: NOWHERE.url,
    anonKey: NOWHERE.anon_key,
    userId: learner.id,
    ...options,
  })

// A whole number beyond 2^53 in one export made the whole listing fail, and a null in it was read as undefined.
test("the app's own JSON is read as it was written", async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, newLearner())
  const filters = { large: 2 ** 60, larger: 1e300, small: -0.5, none: null, list: [null, { a: null }], text: '\\u0000é\u{1f600}' }
  const read = await page.evaluate(async (filters) => {
    const { id } = await window.marea.createExport({ export_type: 'progress', export_format: 'csv', filters })
    await window.marea.updateExport(id, { data: [filters, null] })
    const [{ exports }, one, waiting] = await Promise.all([
      window.marea.exports(),
      window.marea.export(id),
      window.marea.pending(),
    ])
    return { listed: exports[0], one, sent: waiting.map(({ values }) => values) }
  }, filters)
  for (const shown of [read.listed, read.one]) {
    assert.deepEqual(shown.filters, filters)
    assert.deepEqual(shown.data, [filters, null])
  }
  assert.deepEqual(read.sent[0].filters, filters)
  assert.deepEqual(read.sent[1].data, [filters, null])
})

test('open, record a session, read the progress', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, newLearner())

  assert.equal((await progress(page)).total_sessions, 0)
  const recorded = await record(page)
  assert.match(recorded.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
  assert.equal(recorded.pending, 1)

  const seen = await progress(page)
  assert.equal(seen.total_sessions, 1)
  assert.equal(seen.total_time_spent_minutes, 10)
  assert.equal(seen.average_accuracy, 75)
  assert.equal(seen.current_streak_days, 1)
  assert.equal((await status(page)).storage, 'opfs')
  const days = await page.evaluate(() => window.marea.activity('1970-01-01', '9999-12-31'))
  assert.equal(days.length, 1)
  assert.equal(days[0].minutes, 10)
  assert.deepEqual(page.problems, [])
})

test('a reload keeps what was recorded, and its queue', async (t) => {
  const page = await browser.newPage(t)
  const learner = newLearner()
  await openMarea(page, stage, learner)
  await record(page)
  await record(page)
  const before = await progress(page)

  await load(page, stage)
  await openMarea(page, stage, learner)
  assert.deepEqual(await progress(page), before)
  assert.equal((await status(page)).pending, 2)
})

test('a commit goes to a write-ahead log, which takes one flush and not several', async (t) => {
  const page = await browser.newPage(t)
  const user = randomUUID()
  await openMarea(page, stage, { id: user, token: null }, { online: false })
  await record(page)
  const files = await page.evaluate(async (user) => {
    let folder = await navigator.storage.getDirectory()
    for (const name of ['.marea', user, '.opaque']) folder = await folder.getDirectoryHandle(name)
    const named = []
    for await (const handle of folder.values()) {
      const file = await handle.getFile()
      // The pool keeps a file's name at its head, and its content from byte 4,096 on.
      const name = (await file.slice(0, 512).text()).split('\0')[0]
      if (name && file.size > 4096) named.push(name)
    }
    return named.sort()
  }, user)
  assert.deepEqual(files, ['mirror.db', 'mirror.db-wal'])
})

test('the same id recorded twice counts once', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, newLearner())
  const { id } = await record(page)
  const again = await record(page, { session_type: 'qa', id })
  assert.deepEqual([again.id, again.pending], [id, 1])
  assert.equal((await progress(page)).total_sessions, 1)
})

test('two users of one device do not mix', async (t) => {
  const [ada, ben] = [newLearner(), newLearner()]
  // At the same time, in two tabs: each has a worker, a lock and a file of their own.
  const [adaPage, benPage] = [await browser.newPage(t), await browser.newPage(t)]
  await openMarea(adaPage, stage, ada)
  await openMarea(benPage, stage, ben)
  await record(adaPage, { session_type: 'qa', duration_minutes: 7 })
  assert.equal((await progress(adaPage)).total_time_spent_minutes, 7)
  assert.equal((await progress(benPage)).total_sessions, 0)

  // One after the other, in one tab.
  await adaPage.evaluate(() => window.marea.close())
  await benPage.evaluate(() => window.marea.close())
  await openMarea(benPage, stage, ada)
  assert.equal((await progress(benPage)).total_time_spent_minutes, 7)
})

test('a tab that is closed without a word leaves the mirror free', async (t) => {
  const learner = newLearner()
  const first = await browser.newPage(t)
  await openMarea(first, stage, learner)
  await record(first)
  const second = await browser.newPage(t)
  const opening = openMarea(second, stage, learner)
  const waiting = () => second.evaluate(async () => (await navigator.locks.query()).pending.map((lock) => lock.name))
  await waitFor('the second tab to wait', waiting, (names) => names.includes(`marea:${learner.id}`))
  await first.close()
  await opening
  assert.equal((await progress(second)).total_sessions, 1)
})

test('input that cannot be recorded is refused whole, and names the field', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, newLearner())
  const cases = [
    [{ session_type: '' }, /session_type/],
    [{ session_type: 'qa', duration_minutes: -1 }, /duration_minutes/],
    [{ session_type: 'qa', duration_minutes: 1.5 }, /1\.5|integer|i32/],
    [{ session_type: 'qa', duration_minuets: 5 }, /duration_minuets/],
    [{ session_type: 'qa', ended_at: 'yesterday' }, /./],
    [{ session_type: 'qa', qa_attempts: 1, qa_correct: 2 }, /qa_correct/],
    [null, /./],
    ['qa', /./],
  ]
  for (const [input, names] of cases) {
    const failure = await page.evaluate((input) => window.failureOf(() => window.marea.recordSession(input)), input)
    assert.equal(failure?.code, 'invalid_input', JSON.stringify(input))
    assert.match(failure.message, names)
    assert.doesNotMatch(failure.message, /line \d+ column/)
  }
  const uncloneable = await page.evaluate(() =>
    window.failureOf(() => window.marea.recordSession({ session_type: 'qa', session_data: { call: () => 1 } })),
  )
  assert.equal(uncloneable.code, 'invalid_input')
  assert.equal((await progress(page)).total_sessions, 0)
})

test('bad options are refused by name', async (t) => {
  const page = await browser.newPage(t)
  const noUser = await failureOfOpening(page, { id: 'ada' })
  assert.deepEqual([noUser.code, /userId/.test(noUser.message)], ['invalid_input', true])
  const noUrl = await failureOfOpening(page, newLearner(), { url: 'here' })
  assert.equal(noUrl.code, 'invalid_input')
})

test('a watcher is told at once, after every change, and not after it has stopped', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, newLearner())
  await page.evaluate(() => {
    window.seen = []
    // One that throws must not keep the other from being told.
    window.marea.watchProgress(() => {
      throw new Error('a listener of the app')
    })
    window.stop = window.marea.watchProgress((value) => window.seen.push(value.total_sessions))
  })
  const seen = () => page.evaluate(() => window.seen)
  await waitFor('the first value', seen, (values) => values.length === 1)
  await record(page)
  await waitFor('the second value', seen, (values) => values.at(-1) === 1)
  await record(page)
  await waitFor('the third value', seen, (values) => values.at(-1) === 2)
  await page.evaluate(() => window.stop())
  await record(page)
  // The status comes by the same way, later than the progress would.
  await page.evaluate(() => new Promise((resolve) => window.marea.watchStatus((value) => value.pending === 3 && resolve())))
  assert.deepEqual(await seen(), [0, 1, 2])
  assert.ok(page.problems.every((text) => text === 'a listener of the app'), JSON.stringify(page.problems))
})

test('after close every call says so', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, newLearner())
  const codes = await page.evaluate(async () => {
    const waiting = window.failureOf(() => window.marea.recordSession({ session_type: 'qa' }))
    await window.marea.close()
    await window.marea.close()
    const later = await window.failureOf(() => window.marea.progress())
    return { waiting: await waiting, later }
  })
  // The call before it was still answered: it came first.
  assert.equal(codes.waiting, null)
  assert.equal(codes.later.code, 'closed')
})

test('a full disk refuses a write whole, keeps what was there, and is over when there is room again', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, newLearner(), { online: false })
  await record(page)
  const devtools = await browser.context.newCDPSession(page)
  const origin = stage.pageUrl
  await devtools.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 100_000 })
  t.after(() => devtools.send('Storage.overrideQuotaForOrigin', { origin }).catch(() => undefined))
  const { failure, kept } = await page.evaluate(async () => {
    const session = { session_type: 'qa', session_data: { note: 'x'.repeat(60_000) } }
    let failure = null
    let kept = 1
    // Some still fit into pages that the file has already.
    while (!failure && kept < 500) {
      failure = await window.failureOf(() => window.marea.recordSession(session))
      if (!failure) kept++
    }
    return { failure, kept }
  })
  assert.deepEqual([failure?.name, failure?.code, failure?.retry], ['MareaError', 'storage_full', true])
  assert.equal((await progress(page)).total_sessions, kept)
  assert.equal((await status(page)).pending, kept)

  await devtools.send('Storage.overrideQuotaForOrigin', { origin })
  await record(page)
  assert.equal((await progress(page)).total_sessions, kept + 1)
})

test('a part of the package that is not served is named', async (t) => {
  for (const part of ['marea_wasm_bg.wasm', 'worker.js']) {
    const page = await browser.newPage(t)
    await page.route(`**/${part}`, (route) => route.fulfill({ status: 404 }))
    const failure = await failureOfOpening(page, newLearner())
    assert.equal(failure?.code, 'worker_failed', part)
    assert.match(failure.message, new RegExp(part.replaceAll('.', '\\.')))
  }
})

test('a fault in the worker ends that worker alone: another one goes on, and nothing is lost', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, newLearner())
  await record(page)
  const [worker] = page.workers()
  const ended = new Promise((resolve) => worker.once('close', resolve))
  await worker.evaluate(() => {
    setTimeout(() => {
      throw new WebAssembly.RuntimeError('unreachable')
    })
  })
  await ended
  assert.equal((await record(page)).pending, 2)
  assert.equal((await progress(page)).total_sessions, 2)
  assert.equal(page.workers().length, 1)
})

test('three hundred calls at once are all kept', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, newLearner(), { online: false })
  const ids = await page.evaluate(async () => {
    const calls = Array.from({ length: 300 }, () => window.marea.recordSession({ session_type: 'qa' }))
    return (await Promise.all(calls)).map((recorded) => recorded.id)
  })
  assert.equal(new Set(ids).size, 300)
  assert.equal((await progress(page)).total_sessions, 300)
})
