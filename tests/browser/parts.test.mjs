// Parts of a page that wait, without a page: a token that takes long, and what is kept for a leader that begins with less. Their
// time is the test's.

import assert from 'node:assert/strict'
import { buildSync } from 'esbuild'
import { mock, test } from 'node:test'
import { fileURLToPath } from 'node:url'

/** A module of the package, by itself. */
async function partOf(name) {
  const source = fileURLToPath(new URL(`../../wasm/js/${name}.ts`, import.meta.url))
  const [{ contents }] = buildSync({ entryPoints: [source], bundle: true, format: 'esm', write: false }).outputFiles
  return import(`data:text/javascript;base64,${Buffer.from(contents).toString('base64')}`)
}

const { Tokens } = await partOf('tokens')
const { WaitingCalls } = await partOf('calls')

const SECOND = 1_000
const MINUTE = 60 * SECOND

/** What waits between two timers goes on. */
const turns = () => new Promise((resolve) => setImmediate(resolve))

/** Lets time pass, a second at a time. */
async function pass(ms) {
  for (let passed = 0; passed < ms; passed += SECOND) {
    await turns()
    mock.timers.tick(SECOND)
  }
  await turns()
}

/** Tokens whose pages need so long for an answer; `asked` is what they were asked. */
function tokensAfter(t, { own, others = null }) {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.after(() => mock.timers.reset())
  const asked = { own: [], others: [] }
  const ask = (name, source) => (question) => {
    if (!source) return false
    asked[name].push(question.fresh)
    const { ms, answer } = source(asked[name].length, question.fresh)
    if (ms !== null) setTimeout(() => tokens.answered(question.id, answer), ms)
    return true
  }
  const tokens = new Tokens(ask('own', own), ask('others', others))
  /** What a request gets, which may wait so long for it. */
  const get = async (fresh = false, limitMs = 20 * SECOND) => {
    let outcome = 'nothing'
    tokens.get(fresh).then((token) => (outcome = token), ({ code, message }) => (outcome = code ?? message))
    for (let passed = 0; passed < limitMs && outcome === 'nothing'; passed += SECOND) await pass(SECOND)
    return outcome
  }
  return { get, asked }
}

const UNKNOWN = 'no page could say whether somebody is signed in'
const token = (name) => ({ token: name })

test('a token that needs longer than a request waits is for the next request, and nobody has to begin again for it', async (t) => {
  const { get, asked } = tokensAfter(t, { own: (time) => ({ ms: 11 * SECOND, answer: token(`token ${time}`) }) })
  for (const time of [1, 2, 3]) {
    assert.equal(await get(), UNKNOWN)
    // Before it comes: the same question.
    assert.equal(await get(), `token ${time}`)
    assert.equal(asked.own.length, time)
  }
  assert.equal(await get(), UNKNOWN)
  // After it has come, as late as the engine may ask again.
  await pass(4 * MINUTE)
  assert.equal(await get(), 'token 4')
  assert.equal(asked.own.length, 4)
})

test('it is not kept for longer, and a fresh one is another', async (t) => {
  const { get, asked } = tokensAfter(t, {
    own: (time, fresh) => ({ ms: 11 * SECOND, answer: token(`${fresh ? 'fresh' : 'token'} ${time}`) }),
  })
  assert.equal(await get(), UNKNOWN)
  assert.equal(await get(true), UNKNOWN)
  assert.deepEqual([await get(true), await get()], ['fresh 2', 'token 1'])
  assert.deepEqual(asked.own, [false, true])
  assert.equal(await get(), UNKNOWN)
  await pass(7 * MINUTE)
  assert.equal(await get(), UNKNOWN)
  assert.equal(asked.own.length, 4)
})

test('an app that never answers is asked again after a minute, and what it says then counts', async (t) => {
  const { get, asked } = tokensAfter(t, { own: (time) => ({ ms: time === 1 ? null : 0, answer: token('token') }) })
  for (let tries = 0; tries < 6; tries++) {
    assert.equal(await get(), UNKNOWN)
    assert.equal(asked.own.length, 1)
  }
  assert.equal(await get(), 'token')
})

test('that nobody is signed in, or that the app could not say, is not kept; that the account is deleted is', async (t) => {
  const answers = [{ token: null }, { token: null, failed: true }, { token: null, failed: true, deleted: true }]
  const { get, asked } = tokensAfter(t, { own: (time) => ({ ms: 11 * SECOND, answer: answers[time - 1] ?? token('token') }) })
  for (const time of [1, 2, 3]) {
    assert.equal(await get(), UNKNOWN)
    await pass(5 * SECOND)
    assert.equal(asked.own.length, time)
  }
  assert.equal(await get(), 'account_deleted')
  assert.equal(asked.own.length, 3)
})

test("another tab's token that comes late is used too", async (t) => {
  const { get } = tokensAfter(t, {
    own: () => ({ ms: 0, answer: { token: null } }),
    others: (time) => ({ ms: 3 * SECOND, answer: token(`other ${time}`) }),
  })
  assert.equal(await get(), null)
  await pass(2 * SECOND)
  assert.equal(await get(), 'other 1')
})

/** A journal that notes nothing. */
const journal = { begun() {}, ended() {} }

test('what was acknowledged is asked of a leader that begins with less, whatever the clock says', async (t) => {
  const now = Date.now()
  mock.timers.enable({ apis: ['Date'], now })
  t.after(() => mock.timers.reset())
  const calls = new WaitingCalls(journal)
  const write = async (revision) => {
    const made = calls.add('takeOver', [`handover ${revision}`], ({ id }) => {
      calls.settle({ kind: 'results', results: [{ id, value: null }], revision })
    })
    await made
  }
  await write(1)
  mock.timers.setTime(now + 2 * MINUTE)
  await write(2)
  calls.askAgain(0)
  assert.deepEqual(calls.all().map(({ args }) => args[0]), ['handover 1', 'handover 2'])
})
