// An engine that stops in the middle of its work: it is opened again, what was under way is done once, and no other tab notices.
// No server, but where a sync is what stops.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { load, openMarea, progress, record, servePage, startBrowser, status, waitFor } from './harness.mjs'
import { arm, packageThatTraps } from './traps.mjs'

const made = []
after(() => made.forEach((folder) => rmSync(folder, { recursive: true, force: true })))

let stage, browser
before(async () => {
  stage = { backend: { url: 'http://127.0.0.1:9', anon_key: 'anon' }, ...(await servePage({ '/traps/': packageThatTraps(made) })) }
  browser = await startBrowser(stage, { plain: true })
})

const newLearner = () => ({ id: randomUUID(), token: null })
const totalOf = async (page) => (await progress(page)).total_sessions
const leads = (page) => page.evaluate(() => window.marea.leads)
const failureOf = (page, input) => page.evaluate((input) => window.failureOf(() => window.marea.recordSession(input)), input)

async function openTab(t, learner, { lateNews = false, ...options } = {}) {
  const page = await browser.newPage(t)
  await load(page, stage, 'traps')
  if (lateNews) await holdNews(page)
  await openMarea(page, stage, learner, options)
  return page
}

/** Who leads is told twice: what comes through the channel waits here until `window.letGo()`, as it may in a busy browser. */
const holdNews = (page) =>
  page.evaluate(() => {
    const held = []
    window.letGo = () => held.splice(0).forEach((deliver) => deliver())
    const { addEventListener } = BroadcastChannel.prototype
    BroadcastChannel.prototype.addEventListener = function (type, hear, options) {
      const late = (event) => (event.data.kind === 'leading' ? held.push(() => hear(event)) : hear(event))
      return addEventListener.call(this, type, type === 'message' ? late : hear, options)
    }
  })

/** Begins writes that are all under way at once, and keeps their promises. */
const beginWrites = (page, count) =>
  page.evaluate((count) => {
    window.made = Array.from({ length: count }, () => window.marea.recordSession({ session_type: 'qa' }))
  }, count)

const madeBy = (page) => page.evaluate(async () => (await Promise.all(window.made)).map((recorded) => recorded.id))

for (const when of ['before', 'within', 'after']) {
  test(`an engine that stops ${when} a write is opened again, and every write under way is done once`, async (t) => {
    const learner = newLearner()
    const [first, second] = [await openTab(t, learner), await openTab(t, learner)]
    await record(first)
    await arm(first, '_write', when)
    await Promise.all([beginWrites(first, 20), beginWrites(second, 20)])
    const ids = (await Promise.all([madeBy(first), madeBy(second)])).flat()
    assert.equal(new Set(ids).size, 40)
    for (const page of [first, second]) {
      assert.equal(await totalOf(page), 41)
      assert.equal((await status(page)).pending, 41)
    }
    await Promise.all([record(first), record(second)])
    assert.equal(await totalOf(first), 43)
    assert.deepEqual(second.problems, [])
  })
}

for (const when of ['before', 'after']) {
  test(`a call that only reads, ${when} which the engine stops, is answered by the next one`, async (t) => {
    const page = await openTab(t, newLearner())
    await record(page)
    await arm(page, '_progress', when)
    assert.equal(await totalOf(page), 1)
    assert.ok(await leads(page))
    assert.equal((await record(page)).pending, 2)
  })
}

test('a write at which every engine stops is refused, and what was beside it is done once', async (t) => {
  const learner = newLearner()
  const [first, second] = [await openTab(t, learner), await openTab(t, learner)]
  await beginWrites(second, 10)
  await beginWrites(first, 10)
  const refused = await failureOf(second, { session_type: 'poison' })
  assert.deepEqual([refused?.name, refused?.code, refused?.retry], ['MareaError', 'internal', true])
  const ids = (await Promise.all([madeBy(first), madeBy(second)])).flat()
  assert.equal(new Set(ids).size, 20)
  assert.deepEqual([await totalOf(first), await totalOf(second)], [20, 20])
})

test('a sync in which the engine stops is gone on with by the next one, and the console names the places in the code', async (t) => {
  const page = await openTab(t, newLearner())
  const said = []
  page.on('console', (message) => message.type() === 'error' && said.push(message.text()))
  await record(page)
  await arm(page, 'closures_____invoke', 'before')
  assert.equal((await page.evaluate(() => window.marea.sync())).outcome, 'need_token')
  assert.equal(await totalOf(page), 1)
  assert.match(said.join('\n'), /^marea: the engine stopped at wasm-function\[\d+\]:0x[\da-f]+.*; and is started again$/)
})

test('an engine that stops again and again is not started for ever: calls are refused, watchers told, writes kept', async (t) => {
  const page = await openTab(t, newLearner(), { lateNews: true })
  await record(page)
  let workers = 0
  page.on('worker', () => workers++)
  await page.evaluate(() => {
    window.told = []
    window.marea.watchProgress(() => window.told.push('progress'), (error) => window.told.push(error.code))
  })
  await waitFor('the first value', () => page.evaluate(() => window.told.length), (count) => count === 1)
  // Each one stops as soon as it leads and begins to sync.
  await page.route('**/traps/worker.js', async (route) => {
    const answer = await route.fetch()
    await route.fulfill({ response: answer, body: `self.trapAt = '_sync'; self.trapWhen = 'before';\n${await answer.text()}` })
  })
  await arm(page, '_status', 'before')
  const failure = await page.evaluate(() => window.failureOf(() => window.marea.status()))
  assert.deepEqual([failure?.code, failure?.retry], ['internal', true])
  assert.ok(workers >= 3 && workers <= 5, `${workers} workers`)
  await waitFor('the watcher to be told', () => page.evaluate(() => window.told.at(-1)), (code) => code === 'internal')

  // That one of them came to lead is heard only now.
  await page.evaluate(() => window.letGo())

  // When the fault has passed, and some time, the next call starts it again.
  await page.unroute('**/traps/worker.js')
  await page.evaluate(() => {
    const now = performance.now.bind(performance)
    performance.now = () => now() + 120_000
  })
  assert.equal(await totalOf(page), 1)
  await waitFor('the watcher to be told the value again', () => page.evaluate(() => window.told.at(-1)), (what) => what === 'progress')
})

for (const when of ['before', 'within', 'after']) {
  test(`where the engine runs in the page, and stops ${when} a write, it is started again there`, async (t) => {
    const learner = newLearner()
    const options = { storage: 'local-storage' }
    const [first, second] = [await openTab(t, learner, options), await openTab(t, learner, options)]
    await record(first)
    await arm(first, '_write', when)
    await Promise.all([beginWrites(first, 10), beginWrites(second, 10)])
    const ids = (await Promise.all([madeBy(first), madeBy(second)])).flat()
    assert.equal(new Set(ids).size, 20)
    assert.deepEqual([await totalOf(first), await totalOf(second)], [21, 21])
    assert.deepEqual(second.problems, [])
  })
}
