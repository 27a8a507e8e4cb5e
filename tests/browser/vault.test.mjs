// The vault in a real browser: opened by a page of nothing but WebCrypto, and the other way round; in all tabs at once; never
// on the page's own thread; and never in the clear where it should not be.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { browserTest, load, openMarea, startBrowser, startStage, sync, waitFor } from './harness.mjs'

const PASSPHRASE = 'orbit velvet canoe drum'
const KEY = 'sk-proj-0123456789abcdefghijklmnopqrstuva1B2'
const VECTORS = fileURLToPath(new URL('../../core/src/vault/vectors/', import.meta.url))

let stage, browser
before(async () => {
  stage = await startStage()
  browser = await startBrowser(stage)
})

async function device(t, learner, options) {
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, options)
  return page
}

const keys = (page, method, ...args) =>
  page.evaluate(([method, args]) => window.marea.keys[method](...args), [method, args])
const use = (page, provider) =>
  page.evaluate((provider) => window.marea.keys.use(provider, (key) => new TextDecoder().decode(key)), provider)
const failure = (page, method, ...args) =>
  page.evaluate(([method, args]) => window.failureOf(() => window.marea.keys[method](...args)), [method, args])

async function sealed(learner) {
  const { rows } = await stage.database.query('SELECT * FROM public.user_api_keys WHERE user_id = $1', [learner.id])
  return rows[0]
}

test('a key is put, shown by a hint, used, cleared and removed', async (t) => {
  const page = await device(t, await stage.signUp(), { online: false })
  assert.equal((await keys(page, 'status')).state, 'not_set_up')
  await keys(page, 'setUp', PASSPHRASE)
  await keys(page, 'put', 'openai', KEY)
  assert.equal(await use(page, 'openai'), KEY)
  const kept = await page.evaluate(async () => {
    let kept
    await window.marea.keys.use('openai', (key) => void (kept = key))
    return [...kept]
  })
  assert.ok(kept.length === KEY.length && kept.every((byte) => byte === 0), 'cleared when `use` has ended')
  assert.deepEqual((await keys(page, 'status')).keys, [{ provider: 'openai', state: 'open', hint: 'sk-...a1B2' }])
  await keys(page, 'lock')
  const locked = () => page.evaluate(() => window.failureOf(() => window.marea.keys.use('openai', (key) => key.length)))
  assert.equal((await locked()).code, 'vault_locked')
  const wrong = await failure(page, 'unlock', 'wrong horse')
  assert.deepEqual([wrong.isError, wrong.code], [true, 'wrong_passphrase'])
  assert.equal((await failure(page, 'setUp', PASSPHRASE)).code, 'vault_set_up')
  for (const weak of ['short', 'passwordpassword', '               ', '123456789012345']) {
    const refused = await failure(page, 'changePassphrase', PASSPHRASE, weak)
    assert.deepEqual([refused.isError, refused.code], [true, 'invalid_input'], weak)
    assert.match(refused.message, /15 characters|easily guessed|letters or digits/)
  }
  const offered = await keys(page, 'generatePassphrase')
  assert.match(offered, /^([a-z]{5}-){4}[a-z]{5}$/)
  await keys(page, 'changePassphrase', PASSPHRASE, 'another horse entirely')
  await keys(page, 'rotate', 'another horse entirely')
  const code = await keys(page, 'makeRecoveryCode')
  await keys(page, 'lock')
  const recovered = await keys(page, 'recover', code, 'found again in a drawer')
  assert.ok(recovered.recovery_code && recovered.recovery_code !== code, 'a new data key, a new code')
  const rewrapped = await keys(page, 'changePassphrase', 'found again in a drawer', 'kept in another place', { rewrapOnly: true })
  assert.equal(rewrapped.recovery_code, undefined)
  assert.equal(await use(page, 'openai'), KEY)
  await keys(page, 'remove', 'openai')
  assert.deepEqual((await keys(page, 'status')).keys, [])
  assert.deepEqual(page.problems, [])
})

browserTest('a page of nothing but WebCrypto opens what the engine seals, and every frozen vector', async (t) => {
  const learner = await stage.signUp()
  const page = await device(t, learner)
  await keys(page, 'setUp', 'la maré alta 42 veces')
  await keys(page, 'put', 'anthropic', KEY)
  await sync(page)
  const { anthropic_api_key: envelope } = await sealed(learner)
  const fresh = { user: learner.id, provider: 'anthropic', passphrase: 'la maré alta 42 veces', key: KEY, envelope }
  const frozen = readdirSync(VECTORS).flatMap((name) => JSON.parse(readFileSync(VECTORS + name, 'utf8')))
  assert.ok(frozen.length >= 7)
  const opened = await page.evaluate(async (vectors) => {
    const { open } = await import('/envelope.js')
    return Promise.all(vectors.map((v) => open(v.user, v.provider, v.envelope, v.passphrase)))
  }, [fresh, ...frozen])
  assert.deepEqual(opened, [fresh, ...frozen].map((vector) => vector.key))
  const refused = await page.evaluate(async (v) => {
    const { open } = await import('/envelope.js')
    const said = (promise) => promise.then(() => 'opened', (error) => error.message)
    return Promise.all([
      said(open(v.user, v.provider, v.envelope, 'another passphrase')),
      said(open(v.user, 'openai', v.envelope, v.passphrase)),
    ])
  }, fresh)
  assert.deepEqual(refused, ['wrong_passphrase', 'key_damaged'])
})

browserTest('the engine opens what WebCrypto seals', async (t) => {
  const learner = await stage.signUp()
  const page = await device(t, learner)
  const envelope = await page.evaluate(async (user) => {
    const { make } = await import('/envelope.js')
    return make(user, 'unsplash', 'sealed by a page', 'a passphrase of a page', 600000, Date.now())
  }, learner.id)
  await stage.database.query(
    `INSERT INTO public.user_api_keys (user_id, unsplash_api_key) VALUES ($1, $2)
     ON CONFLICT (user_id) DO UPDATE SET unsplash_api_key = $2`,
    [learner.id, envelope],
  )
  await sync(page)
  assert.equal((await keys(page, 'status')).state, 'locked')
  await keys(page, 'unlock', 'a passphrase of a page')
  assert.equal(await use(page, 'unsplash'), 'sealed by a page')
})

browserTest('two tabs share one vault, and hear of each other', async (t) => {
  const learner = await stage.signUp()
  const one = await device(t, learner, { online: false })
  const two = await device(t, learner, { online: false })
  await two.evaluate(() => {
    window.seen = []
    window.marea.keys.watch((status) => window.seen.push(status.state))
  })
  await keys(one, 'setUp', PASSPHRASE)
  await keys(one, 'put', 'openai', KEY)
  assert.equal(await use(two, 'openai'), KEY)
  await keys(two, 'lockAfter', 300)
  await waitFor('the vault locks by itself', () => two.evaluate(() => window.seen.at(-1)), (state) => state === 'locked')
  assert.equal((await keys(one, 'status')).state, 'locked')
})

browserTest('a remembered device opens the vault after a reload, until it forgets', async (t) => {
  const learner = await stage.signUp()
  const page = await device(t, learner, { online: false })
  await keys(page, 'setUp', PASSPHRASE)
  await keys(page, 'put', 'openai', KEY)
  await keys(page, 'rememberDevice')
  await load(page, stage)
  await openMarea(page, stage, learner, { online: false })
  assert.equal((await keys(page, 'status')).state, 'locked')
  assert.equal(await keys(page, 'unlockRemembered'), true)
  assert.equal(await use(page, 'openai'), KEY)
  await keys(page, 'lock')
  await keys(page, 'forgetDevice')
  assert.equal(await keys(page, 'unlockRemembered'), false)
  await keys(page, 'unlock', PASSPHRASE)
  await keys(page, 'rememberDevice')
  assert.equal(await remembered(page), 1)
  await page.evaluate(() => window.marea.erase())
  assert.equal(await remembered(page), 0, 'erasing the mirror forgets it as well')
})

/** How many devices' keys this browser keeps. */
const remembered = (page) =>
  page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const opening = indexedDB.open('marea-vault')
        opening.onerror = () => reject(opening.error)
        opening.onsuccess = () => {
          const count = opening.result.transaction('devices').objectStore('devices').count()
          count.onsuccess = () => {
            resolve(count.result)
            opening.result.close()
          }
        }
      }),
  )

browserTest('unlocking never stalls the page', async (t) => {
  const page = await device(t, await stage.signUp(), { online: false })
  await keys(page, 'setUp', PASSPHRASE)
  await keys(page, 'put', 'openai', KEY)
  await keys(page, 'lock')
  const observed = await page.evaluate(async (passphrase) => {
    const tasks = []
    const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration)))
    observer.observe({ entryTypes: ['longtask'] })
    const turn = () => new Promise((resolve) => setTimeout(resolve, 60))
    await window.marea.keys.unlock(passphrase)
    await window.marea.keys.use('openai', (key) => key.length)
    await turn()
    const own = tasks.length
    // The observer sees a task that is too long.
    const until = performance.now() + 90
    await new Promise((resolve) => setTimeout(resolve, 0))
    while (performance.now() < until) { /* a page that stalls */ }
    await turn()
    await turn()
    return { own, control: tasks.length - own }
  }, PASSPHRASE)
  assert.equal(observed.own, 0, 'tasks of more than 50 ms while unlocking')
  assert.ok(observed.control >= 1, 'the observer sees long tasks')
})

browserTest('nothing in the clear goes over the wire or into what is kept', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  const sent = []
  browser.context.on('request', (request) => sent.push(request.postData() ?? ''))
  await openMarea(page, stage, learner)
  await keys(page, 'setUp', PASSPHRASE)
  await keys(page, 'put', 'openai', KEY)
  await sync(page)
  const diagnostics = await page.evaluate(() => window.marea.diagnostics())
  const mirror = await page.evaluate(async () => {
    const texts = [JSON.stringify({ ...localStorage })]
    const walk = async (folder) => {
      for await (const entry of folder.values()) {
        if (entry.kind === 'directory') await walk(entry)
        else texts.push(await entry.getFile().then((file) => file.text(), () => ''))
      }
    }
    await walk(await navigator.storage.getDirectory())
    return texts
  })
  const isThere = (texts) => texts.some((text) => text.includes('pbkdf2-sha256-600000'))
  assert.ok(isThere(sent), 'the sealed key was sent')
  assert.ok(isThere(mirror), 'the sealed key is in the files')
  for (const text of [...sent, diagnostics, ...mirror]) {
    assert.ok(!text.includes(KEY) && !text.includes(PASSPHRASE))
  }
})
