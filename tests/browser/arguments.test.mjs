// What apps pass by mistake: refused before it is sent, by the name of the field, in a tab that leads and in one that follows; and
// what frameworks make of plain objects: taken. No server.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import { browserTest, progress, servePage, startBrowser, status } from './harness.mjs'
import { openTabs } from './tabs.mjs'

let stage, browser
before(async () => {
  stage = { backend: { url: 'http://127.0.0.1:9', anon_key: 'anon' }, ...(await servePage()) }
  browser = await startBrowser(stage)
})

const ID = randomUUID()

/** Each call as an app writes it, and how the refusal begins. */
const wrong = [
  ["marea.recordSession({ session_type: 'qa', duration_minutes: NaN })", 'duration_minutes: expected an integer, got NaN'],
  ["marea.recordSession({ session_type: 'qa', duration_minutes: 1.5 })", 'duration_minutes: expected an integer, got 1.5'],
  ["marea.recordSession({ session_type: 'qa', duration_minutes: 3e9 })", 'duration_minutes: expected an integer below 2^31'],
  ["marea.recordSession({ session_type: 'qa', duration_minutes: '5' })", 'duration_minutes: expected an integer, got string'],
  ["marea.recordSession({ session_type: 'qa', qa_attempts: 5n })", 'qa_attempts: expected an integer, got bigint'],
  ["marea.recordSession({ session_type: 'qa', qa_attempts: Infinity })", 'qa_attempts: expected an integer, got Infinity'],
  ["marea.recordSession({ session_type: 'qa', ended_at: new Date('x') })", 'ended_at: expected a time with an offset, like 2026-11-23T12:00:00Z, got invalid Date'],
  ["marea.recordSession({ session_type: 'qa', ended_at: Date.now() })", 'ended_at: expected a time with an offset'],
  ["marea.recordSession({ session_type: 'qa', started_at: '2026-02-30T12:00:00Z' })", 'started_at: expected a time with an offset'],
  ["marea.recordSession({ session_type: 'qa', local_date: new Date() })", 'local_date: expected a calendar day written YYYY-MM-DD, got Date'],
  ["marea.recordSession({ session_type: 'qa', local_date: '2026-02-30' })", 'local_date: expected a calendar day'],
  ["marea.recordSession({ session_type: 'qa', id: 7 })", 'id: expected a UUID, got number'],
  ["marea.recordSession({ session_type: 'qa', minutes: 5 })", 'minutes: is no field of a session; there are id, session_type'],
  ["marea.recordSession({ duration_minutes: 5 })", 'session_type: is missing'],
  ["marea.recordSession({ session_type: undefined })", 'session_type: is missing'],
  ["marea.recordSession({ session_type: 'q\\ud800' })", 'session_type: holds half of a character'],
  ['marea.recordSession()', 'a session: expected an object, got undefined'],
  ['marea.recordSession(null)', 'a session: expected an object, got null'],
  ["marea.recordSession(['qa'])", 'a session: expected an object, got array'],
  ["marea.recordSession(new Map([['session_type', 'qa']]))", 'a session: expected an object, got Map'],
  ["marea.recordSession({ session_type: 'qa', session_data: { words: [{ score: NaN }] } })", 'session_data.words[0].score: expected JSON, got NaN'],
  ["marea.recordSession({ session_type: 'qa', session_data: { when: new Date('x') } })", 'session_data.when: expected JSON, got invalid Date'],
  ["marea.recordSession({ session_type: 'qa', session_data: { when: new Proxy(new Date(), {}) } })", 'session_data.when: expected JSON, got invalid Date'],
  ["marea.recordSession({ session_type: 'qa', session_data: { seen: new Set() } })", 'session_data.seen: expected JSON, got Set'],
  ["marea.recordSession({ session_type: 'qa', session_data: { next: () => 1 } })", 'session_data.next: expected JSON, got function'],
  ["marea.recordSession({ session_type: 'qa', session_data: { bytes: new Uint8Array(2) } })", 'session_data.bytes: expected JSON, got Uint8Array'],
  ["marea.recordSession({ session_type: 'qa', session_data: { big: 1n } })", 'session_data.big: expected JSON, got bigint'],
  ["marea.recordSession({ session_type: 'qa', session_data: { list: [undefined] } })", 'session_data.list[0]: expected JSON, got undefined'],
  ["marea.recordSession({ session_type: 'qa', session_data: { element: document.body } })", 'session_data.element: expected JSON, got HTMLBodyElement'],
  ["marea.recordSession({ session_type: 'qa', session_data: [] })", 'session_data: expected an object, got array'],
  ["marea.recordSession({ session_type: 'qa', session_data: cycle })", 'session_data'],
  ["marea.recordSession({ get session_type() { throw new Error('mine') } })", 'write: its arguments could not be read'],
  ["marea.recordSession(Proxy.revocable({}, {}).revoked)", 'a session: expected an object, got undefined'],
  ["marea.recordEvent({ points: NaN })", 'points: expected an integer, got NaN'],
  ["marea.recordEvent({ points: 1, achievements: 'first' })", 'achievements: expected a list of texts, got string'],
  ["marea.recordEvent({ points: 1, achievements: ['a', 7] })", 'achievements[1]: expected text, got number'],
  ["marea.createExport({ export_type: 'progress' })", 'export_format: is missing'],
  ["marea.createExport({ export_type: 'progress', export_format: 'csv', filters: 'all' })", 'filters: expected an object, got string'],
  ["marea.updateExport(7, { status: 'failed' })", 'id: expected a UUID, got number'],
  [`marea.updateExport('${ID}', { status: 'done' })`, 'status: expected one of pending, processing, completed, failed, expired'],
  [`marea.updateExport('${ID}', { file_size_bytes: 2 ** 60 })`, 'file_size_bytes: expected a whole number of bytes, as text'],
  [`marea.updateExport('${ID}', null)`, 'a change: expected an object, got null'],
  ['marea.activity(new Date(), new Date())', 'from: expected a calendar day written YYYY-MM-DD, got Date'],
  ["marea.activity('2026-01-01')", 'to: expected a calendar day written YYYY-MM-DD, got undefined'],
  ['marea.export(42)', 'id: expected a UUID, got number'],
  ['marea.retry(7)', 'id: expected a UUID, got number'],
  ['marea.discard({})', 'id: expected a UUID, got object'],
  ['marea.exports({ limit: 2.5 })', 'limit: expected an integer, got 2.5'],
  ["marea.exports({ after: 'last' })", 'after: expected an object, got string'],
  [`marea.exports({ after: { id: '${ID}' } })`, 'after.created_at: is missing'],
  ['marea.exports(null)', 'a query: expected an object, got null'],
  ["marea.setOnline('yes')", 'online: expected true or false, got string'],
  ['marea.keys.setUp(12345678)', 'passphrase: expected text, got number'],
  ['marea.keys.changePassphrase(1, 2)', 'current: expected text, got number'],
  ["marea.keys.put('acme', 'sk-1')", 'provider: expected one of openai, unsplash, anthropic'],
  ["marea.keys.put('openai', { key: 'sk-1' })", 'key: expected text, got object'],
  ["marea.keys.use('openai')", 'use: expected a function, got undefined'],
  ["marea.keys.lockAfter(NaN)", 'millis: expected milliseconds, 0 or more, or null, got NaN'],
  ['marea.watchProgress()', 'listener: expected a function, got undefined'],
  ['marea.watchActivity(new Date(), new Date(), () => {})', 'from: expected a calendar day'],
  ['marea.watchExports({ limit: NaN }, () => {})', 'limit: expected an integer, got NaN'],
  ['marea.watchQueue(() => {}, undefined, { limit: NaN })', 'limit: expected an integer, got NaN'],
  ["marea.watchStatus(() => {}, 'log')", 'onError: expected a function, got string'],
]

test('a wrong argument is refused by its name, and the tab that leads goes on', async (t) => {
  const tabs = await openTabs(t, browser, stage, { id: randomUUID(), token: null }, 2)
  const failuresOf = (page) =>
    page.evaluate((calls) => {
      const cycle = {}
      cycle.self = { cycle }
      const run = new Function('marea', 'cycle', 'call', 'return eval(call)')
      return Promise.all(calls.map((call) => window.failureOf(async () => run(window.marea, cycle, call))))
    }, wrong.map(([call]) => call))
  for (const page of tabs) {
    const failures = await failuresOf(page)
    wrong.forEach(([call, expected], index) => {
      const failure = failures[index]
      assert.deepEqual([failure?.name, failure?.code, failure?.retry], ['MareaError', 'invalid_input', false], call)
      assert.ok(failure.message.startsWith(expected), `${call}: ${failure.message}`)
    })
    // No secret, and nothing of what the learner wrote, is in a message.
    assert.doesNotMatch(failures.map((failure) => failure.message).join('\n'), /12345678|sk-1|acme|mine/)
  }
  for (const page of tabs) {
    assert.equal((await progress(page)).total_sessions, 0)
    assert.deepEqual(page.problems, [])
  }
})

browserTest('arguments that a tab of another version did not check are refused by the one that leads', async (t) => {
  const learner = { id: randomUUID(), token: null }
  const [leader, follower] = await openTabs(t, browser, stage, learner, 2)
  const results = await follower.evaluate(async (userId) => {
    const meeting = `marea:${userId}`
    const [toLeader, news, mail] = [`${meeting}:leader`, `${meeting}:news`, `${meeting}:tab:old`].map(
      (name) => new BroadcastChannel(name),
    )
    const next = (channel, kind) =>
      new Promise((resolve) => channel.addEventListener('message', ({ data }) => data.kind === kind && resolve(data)))
    const led = next(news, 'leading')
    toLeader.postMessage({ kind: 'hello', tab: 'old' })
    const { term } = await led
    const answered = next(mail, 'results')
    const calls = [
      { id: 1, method: 'activity', args: [new Date(), new Date()] },
      { id: 2, method: 'export', args: [42] },
      { id: 3, method: 'retry', args: null },
      { id: 4, method: 'keysPut', args: [7, 7] },
      { id: 5, method: 'later', args: [] },
      { id: 6, method: 'constructor', args: [] },
    ]
    toLeader.postMessage({ kind: 'calls', tab: 'old', term, calls })
    return (await answered).results.map(({ error }) => error?.code)
  }, learner.id)
  assert.deepEqual(results, ['invalid_input', 'invalid_input', 'invalid_input', 'invalid_input', 'app_outdated', 'app_outdated'])
  assert.equal((await status(leader)).pending, 0)
})

test('proxies, dates, big integers and what is left undefined are taken, as a copy', async (t) => {
  const tabs = await openTabs(t, browser, stage, { id: randomUUID(), token: null }, 2)
  for (const page of tabs) {
    const queued = await page.evaluate(async () => {
      // As the reactive objects of Vue, Svelte and MobX: proxies all the way down.
      const reactive = (value) =>
        value === null || typeof value !== 'object' || value instanceof Date ? value : new Proxy(value, { get: (of, key) => reactive(Reflect.get(of, key)) })
      const words = [{ word: 'mar', score: 0.5, __proto__: { inherited: 1 } }]
      const input = {
        session_type: 'qa',
        duration_minutes: undefined,
        qa_attempts: null,
        ended_at: new Date('2026-11-20T10:00:00.000Z'),
        session_data: { words, at: new Date(0), gone: undefined, shared: [words, words] },
      }
      const recorded = window.marea.recordSession(reactive(input))
      input.session_data.words = 'changed after the call'
      const { id } = await recorded
      return (await window.marea.pending()).find((mutation) => mutation.id === id).values
    })
    assert.equal(queued.ended_at, '2026-11-20T10:00:00.000000Z')
    const word = [{ word: 'mar', score: 0.5 }]
    const { local_date: _, ...data } = queued.session_data
    assert.deepEqual(data, { words: word, at: '1970-01-01T00:00:00.000Z', shared: [word, word] })
    const bytes = await page.evaluate(async () => {
      const { id } = await window.marea.createExport({ export_type: 'progress', export_format: 'csv' })
      await window.marea.updateExport(id, { file_size_bytes: 9007199254740993n, completed_at: new Date('2026-11-20T10:00:00Z') })
      return (await window.marea.export(id)).file_size_bytes
    })
    assert.equal(bytes, '9007199254740993')
  }
})

test('who follows what cannot be read is told', async (t) => {
  const [page] = await openTabs(t, browser, stage, { id: randomUUID(), token: null }, 1)
  const told = await page.evaluate(
    () => new Promise((resolve) => window.marea.watchActivity(new Date(), new Date(), () => resolve('days'), (error) => resolve(error.code))),
  )
  assert.equal(told, 'invalid_input')
})
