// Pages whose origin or policies forbid what Marea needs: the error says which, and what to add. And the two options that help. No
// server.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import { openMarea, record, servePage, startBrowser, status, sync, untilReady, waitFor } from './harness.mjs'

const NOWHERE = { url: 'http://127.0.0.1:9', anon_key: 'anon' }
const BASE = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self' http:; img-src data:"

let stage, elsewhere, browser
before(async () => {
  stage = { backend: NOWHERE, ...(await servePage()) }
  elsewhere = await servePage()
  browser = await startBrowser(stage)
})

/** A page under this policy. `also` steers what else is served otherwise. */
async function openUnder(t, policy, { worker = policy, query = '', also = async () => undefined } = {}) {
  const page = await browser.context.newPage()
  t.after(() => page.close())
  const serve = (policy) => async (route) => {
    const answer = await route.fetch()
    await route.fulfill({ response: answer, headers: { ...answer.headers(), 'content-security-policy': policy } })
  }
  await page.route((url) => url.pathname === '/', serve(policy))
  await page.route('**/worker.js', serve(worker))
  await also(page)
  await page.goto(`${stage.pageUrl}/${query}`)
  await untilReady(page)
  return page
}

const failureOf = (page, options = {}) =>
  page.evaluate((options) => window.failureOf(() => window.openMarea(options)), {
    url: NOWHERE.url,
    anonKey: NOWHERE.anon_key,
    userId: randomUUID(),
    ...options,
  })

/** The failure of an opening, which has to name what is wrong; and nothing may be left of it. */
async function assertRefused(page, options, ...expected) {
  const failure = await failureOf(page, options)
  assert.deepEqual([failure?.name, failure?.code], ['MareaError', 'worker_failed'], failure?.message)
  for (const part of expected) assert.ok(failure.message.includes(part), failure.message)
  assert.equal(page.workers().length, 0)
}

/** Counts what is listened to and waited for, and says what is left at the end. */
const countListeners = () => {
  window.left = { listeners: 0, timers: new Set() }
  for (const target of [window, document]) {
    const add = target.addEventListener.bind(target)
    target.addEventListener = (type, listener, options) => {
      if (options?.signal) {
        window.left.listeners++
        options.signal.addEventListener('abort', () => window.left.listeners--)
      }
      add(type, listener, options)
    }
  }
  for (const [set, clear] of [['setTimeout', 'clearTimeout'], ['setInterval', 'clearInterval']]) {
    const [begin, end] = [window[set].bind(window), window[clear].bind(window)]
    window[set] = (call, ms) => {
      const timer = begin(() => {
        if (set === 'setTimeout') window.left.timers.delete(timer)
        call()
      }, ms)
      window.left.timers.add(timer)
      return timer
    }
    window[clear] = (timer) => {
      window.left.timers.delete(timer)
      end(timer)
    }
  }
}

test('a worker on another origin is refused by that name, leaves nothing behind, and workerUrl is the way', async (t) => {
  const policy = BASE.replaceAll("'self'", `'self' ${elsewhere.pageUrl}`)
  const page = await openUnder(t, policy, {
    query: `?package=${elsewhere.pageUrl}/marea/`,
    also: (page) =>
      page.route(`${elsewhere.pageUrl}/**`, async (route) => {
        const answer = await route.fetch()
        await route.fulfill({ response: answer, headers: { ...answer.headers(), 'access-control-allow-origin': '*' } })
      }),
  })
  await page.evaluate(countListeners)
  await assertRefused(page, {}, elsewhere.pageUrl, stage.pageUrl, 'workerUrl')
  await waitFor(
    'nothing to be left',
    () => page.evaluate(() => [window.left.listeners, window.left.timers.size]),
    ([listeners, timers]) => listeners === 0 && timers === 0,
  )
  await openMarea(page, stage, { id: randomUUID(), token: null }, { workerUrl: '/marea/worker.js' })
  assert.equal((await record(page)).pending, 1)
  assert.equal((await status(page)).storage, 'opfs')
})

test('a sandboxed frame without an origin is told so', async (t) => {
  const policy = BASE.replaceAll("'self'", `'self' ${stage.pageUrl}`)
  const page = await openUnder(t, policy, {
    // What has no origin is served what is for all.
    also: (page) =>
      page.route('**/*.js', async (route) => {
        const answer = await route.fetch()
        await route.fulfill({ response: answer, headers: { ...answer.headers(), 'access-control-allow-origin': '*' } })
      }),
  })
  await page.evaluate(() => {
    const frame = document.createElement('iframe')
    frame.sandbox = 'allow-scripts'
    frame.src = location.href
    document.body.append(frame)
  })
  const frame = await waitFor('the frame', () => page.frames()[1], (frame) => frame !== undefined)
  await untilReady(frame)
  assert.equal(await frame.evaluate(() => window.origin), 'null')
  const failure = await failureOf(frame, { storage: 'opfs' })
  assert.deepEqual([failure?.name, failure?.code], ['MareaError', 'worker_failed'], failure?.message)
  assert.match(failure.message, /allow-same-origin/)
})

test('Trusted Types are named, and satisfied by a policy of the given name', async (t) => {
  const policy = `${BASE}; require-trusted-types-for 'script'; trusted-types my-policy`
  const page = await openUnder(t, policy)
  await assertRefused(page, {}, 'Trusted Types', 'trustedTypesPolicy', 'trusted-types')
  await assertRefused(page, { trustedTypesPolicy: 'another' }, 'trusted-types another')
  const learner = { id: randomUUID(), token: null }
  await openMarea(page, stage, learner, { trustedTypesPolicy: 'my-policy' })
  await page.evaluate(() => window.marea.close())
  await openMarea(page, stage, learner, { trustedTypesPolicy: 'my-policy', workerUrl: '/marea/worker.js' })
  assert.equal((await record(page)).pending, 1)
  assert.equal(await page.evaluate(() => String(window.Worker).includes('native code')), true)
})

test('a policy without worker-src is named, with the line to add', async (t) => {
  const page = await openUnder(t, BASE.replace("worker-src 'self'", "worker-src 'none'"))
  await assertRefused(page, {}, "worker-src 'self'")
})

for (const storage of ['opfs', 'local-storage']) {
  test(`a policy without wasm-unsafe-eval is named, with the line to add (${storage})`, async (t) => {
    const page = await openUnder(t, BASE.replace(" 'wasm-unsafe-eval'", ''))
    await assertRefused(page, { storage }, "script-src 'self' 'wasm-unsafe-eval'")
  })

  test(`a policy without the server in connect-src is named in the status, not told as offline (${storage})`, async (t) => {
    const policy = BASE.replace(' http:', '')
    const page = await openUnder(t, policy)
    const id = randomUUID()
    const token = ['{}', JSON.stringify({ sub: id, exp: 4e9 }), ''].map((part) => Buffer.from(part).toString('base64url')).join('.')
    await openMarea(page, stage, { id, token: `${token}x` }, { storage })
    await record(page)
    const report = await sync(page)
    assert.equal(report.last_error?.code, 'policy_blocked')
    const told = await waitFor('the status', () => status(page), (seen) => seen.last_error?.code === 'policy_blocked')
    assert.ok(told.last_error.message.includes(`connect-src ${NOWHERE.url}`), told.last_error.message)
    assert.equal(told.pending, 1)
  })
}

test('a policy that forbids to load the module is named, with the line to add', async (t) => {
  const page = await openUnder(t, BASE.replace("connect-src 'self' http:", "connect-src 'none'"))
  await assertRefused(page, {}, `connect-src ${stage.pageUrl}`)
})
