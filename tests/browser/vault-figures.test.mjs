// What the vault costs in Chromium, beside WebCrypto's PBKDF2 in the same run. Printed, not asserted.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openMarea, servePage, startBrowser } from './harness.mjs'

const NOWHERE = { url: 'http://127.0.0.1:9', anon_key: 'anon' }
const RUNS = 5

let stage, browser
before(async () => {
  stage = { backend: NOWHERE, ...(await servePage({ '/pkg/': fileURLToPath(new URL('../../wasm/pkg', import.meta.url)) })) }
  browser = await startBrowser(stage)
})

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
const ms = (value) => `${value.toFixed(value < 10 ? 2 : 0)} ms`

test('unlock, put and use', async (t) => {
  const page = await browser.newPage(t)
  await openMarea(page, stage, { id: randomUUID(), token: null }, { online: false })
  const times = await page.evaluate(async (runs) => {
    const { derive } = await import('/envelope.js')
    const module = await import('/pkg/marea_wasm.js')
    await module.default({ module_or_path: '/marea/marea_wasm_bg.wasm' })
    const passphrase = 'orbit velvet canoe drum'
    const timed = async (work) => {
      const start = performance.now()
      await work()
      return performance.now() - start
    }
    const { keys } = window.marea
    await keys.setUp(passphrase)
    await keys.put('openai', 'sk-proj-0123456789abcdefghijklmnopqrstuvwxyza1B2')
    const all = { webcrypto: [], unlock: [], module: [], put: [], use: [] }
    const engine = await module.MareaEngine.open(
      'http://127.0.0.1:9', 'anon', crypto.randomUUID(), 'memory', false, () => null, () => undefined,
    )
    for (let run = 0; run < runs; run++) {
      all.webcrypto.push(await timed(() => derive(passphrase, crypto.getRandomValues(new Uint8Array(16)), 600000)))
      await keys.lock()
      all.unlock.push(await timed(() => keys.unlock(passphrase)))
      const work = engine.beginVaultWork('set_up')
      all.module.push(await timed(() => work.derive(passphrase)))
      all.put.push(await timed(() => keys.put('openai', 'sk-proj-0123456789abcdefghijklmnopqrstuvwxyza1B2')))
      all.use.push(await timed(() => keys.use('openai', (key) => key.length)))
    }
    return all
  }, RUNS)
  const [base, unlock, module] = [times.webcrypto, times.unlock, times.module].map(median)
  t.diagnostic(`PBKDF2, 600,000 rounds, by WebCrypto in the page: ${ms(base)}`)
  t.diagnostic(`unlock(), derived by WebCrypto at the leader: ${ms(unlock)}, ${(unlock / base).toFixed(2)} x`)
  t.diagnostic(`the same derivation by our module, where there is no WebCrypto: ${ms(module)}, ${(module / base).toFixed(2)} x`)
  t.diagnostic(`put() with its disk write: ${ms(median(times.put))}; use(): ${ms(median(times.use))}`)
  t.diagnostic(`median of ${RUNS}, Chromium ${browser.version}`)
  assert.ok(unlock > 0)
})
