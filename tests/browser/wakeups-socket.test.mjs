// The socket of wake-ups in the leader, over an engine, a socket and a clock of the test's: no browser is needed for its rules.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mock, test } from 'node:test'
import { transform } from 'esbuild'

const MINUTE_MS = 60_000

/** What the engine is told, and what it answers: `steps` by event. */
class Engine {
  told = []
  wanted = []
  steps = {}
  wantWakeups(wanted) {
    this.wanted.push(wanted)
  }
  socket(event, text) {
    this.told.push(text ? `${event} ${text}` : event)
    if (this.steps[event] instanceof Error) throw this.steps[event]
    const { ask = '', at = '', frames = [] } = this.steps[event] ?? {}
    return [ask, String(at), ...frames]
  }
}

class Socket {
  static made = []
  sent = []
  closed = false
  constructor(url) {
    this.url = url
    Socket.made.push(this)
  }
  send(frame) {
    this.sent.push(frame)
  }
  close() {
    this.closed = true
  }
}

async function wakeUps(t, events = {}) {
  const { code } = await transform(readFileSync(new URL('../../wasm/js/wakeups.ts', import.meta.url), 'utf8'), { loader: 'ts', target: 'es2022' })
  const { WakeUps } = await import(`data:text/javascript,${encodeURIComponent(code)}`)
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] })
  const [engine, before] = [new Engine(), globalThis.WebSocket]
  Object.assign(globalThis, { WebSocket: Socket })
  Socket.made = []
  const asked = []
  const all = { wantToken: async () => 'token', sync() {}, changed() {}, ask: () => asked.push(Date.now()), ...events }
  const subject = new WakeUps(engine, { url: 'https://x.supabase.co/', anonKey: 'a b' }, all)
  t.after(() => {
    subject.stop()
    mock.timers.reset()
    globalThis.WebSocket = before
  })
  return { subject, engine, asked }
}

const settled = () => new Promise((resolve) => setImmediate(resolve))

test('the socket is closed when for a minute nobody has looked, and opened when somebody does', async (t) => {
  const { subject, engine, asked } = await wakeUps(t)
  engine.steps = { look: { ask: 'open' } }
  subject.seen()
  assert.deepEqual(engine.wanted, [true])
  await settled()
  engine.steps = {}
  for (let times = 0; times < 10; times++) {
    mock.timers.tick(MINUTE_MS - 1)
    subject.seen()
  }
  assert.deepEqual([engine.wanted, asked.length], [[true], 20])
  mock.timers.tick(MINUTE_MS - 1)
  assert.deepEqual(engine.wanted, [true], 'not before a minute is over')
  mock.timers.tick(1)
  assert.deepEqual(engine.wanted, [true, false])
  const before = asked.length
  engine.steps = { look: { ask: 'close' } }
  subject.look()
  assert.equal(Socket.made[0].closed, true)
  engine.steps = {}
  mock.timers.tick(60 * MINUTE_MS)
  assert.equal(asked.length, before, 'nobody is asked any more')
  subject.seen()
  assert.deepEqual(engine.wanted, [true, false, true])
})

test('what belongs to a socket that is closed is of no effect', async (t) => {
  const { subject, engine } = await wakeUps(t)
  engine.steps = { look: { ask: 'open' } }
  subject.look()
  await settled()
  const [first] = Socket.made
  assert.equal(first.url, 'wss://x.supabase.co/realtime/v1/websocket?vsn=1.0.0&apikey=a%20b')
  engine.steps = { opened: { frames: ['join'] }, text: { ask: 'close' } }
  first.onopen()
  assert.deepEqual([engine.told.at(-1), first.sent], ['opened token', ['join']])
  first.onmessage({ data: 'refused' })
  assert.equal(first.closed, true)
  const told = engine.told.length
  first.onmessage({ data: 'late' })
  first.onclose()
  assert.equal(engine.told.length, told)
  // One that breaks by itself is told of, once.
  engine.steps = { look: { ask: 'open' } }
  subject.look()
  await settled()
  engine.steps = { closed: { at: Date.now() + 5_000 } }
  Socket.made[1].onclose()
  Socket.made[1].onclose()
  assert.deepEqual(engine.told.slice(told), ['look', 'closed'])
  mock.timers.tick(5_000)
  assert.equal(engine.told.at(-1), 'look')
  // An engine that fails is left alone for a while.
  engine.steps = { look: new Error('stopped') }
  subject.look()
  engine.steps = {}
  mock.timers.tick(30_000)
  assert.equal(engine.told.at(-1), 'look')
})

test('without a token no socket is opened', async (t) => {
  for (const wantToken of [async () => null, async () => Promise.reject(new Error('no network'))]) {
    const { subject, engine } = await wakeUps(t, { wantToken })
    engine.steps = { look: { ask: 'open' } }
    subject.look()
    await settled()
    assert.deepEqual([engine.told, Socket.made.length], [['look', 'closed'], 0])
    mock.timers.reset()
  }
})
