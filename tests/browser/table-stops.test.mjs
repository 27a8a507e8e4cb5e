// An engine that stops in the middle of a change or a reading of mirrored tables: what was under way is done once, and no tab notices.
// No server.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { load, openMarea, servePage, startBrowser, status } from './harness.mjs'
import { table } from './tables-stage.mjs'
import { arm, packageThatTraps } from './traps.mjs'

const schema = JSON.parse(readFileSync(new URL('../fixtures/schema/marea.schema.json', import.meta.url), 'utf8'))
const made = []
after(() => made.forEach((folder) => rmSync(folder, { recursive: true, force: true })))

let stage, browser
before(async () => {
  stage = { backend: { url: 'http://127.0.0.1:9', anon_key: 'anon' }, ...(await servePage({ '/traps/': packageThatTraps(made) })) }
  browser = await startBrowser(stage, { plain: true })
})

async function openTabs(t, options) {
  const learner = { id: randomUUID(), token: null }
  const pages = []
  for (let count = 0; count < 2; count++) {
    const page = await browser.newPage(t)
    await load(page, stage, 'traps')
    await openMarea(page, stage, learner, { schema, ...options })
    pages.push(page)
  }
  return pages
}

/** Changes that are under way all at once: inserts, batches, additions. Gives the keys of the inserts. */
const beginChanges = (page, row) =>
  page.evaluate((row) => {
    const stock = window.marea.table('stock_items')
    window.made = Array.from({ length: 10 }, (_, index) => [
      stock.insert({ label: `one ${index}`, sizes: [] }),
      window.marea.batch((tx) => {
        for (const label of ['a', 'b']) tx.table('stock_items').insert({ label: `${label} ${index}`, sizes: [] })
        tx.table('stock_items').add(row, { seen: 1 })
      }),
      stock.add(row, { seen: 1 }),
    ]).flat()
  }, row)
const madeBy = (page) => page.evaluate(async () => (await Promise.all(window.made)).flatMap((done) => done.key ?? done))

for (const storage of ['opfs', 'local-storage']) {
  for (const when of ['before', 'within', 'after']) {
    test(`an engine that stops ${when} changes is opened again, and each is done once (${storage})`, async (t) => {
      const [leader, follower] = await openTabs(t, { storage })
      const row = await table(leader, 'stock_items', 'insert', { label: 'counted', sizes: [] })
      await arm(leader, '_write', when)
      await Promise.all([beginChanges(leader, row), beginChanges(follower, row)])
      const keys = (await Promise.all([madeBy(leader), madeBy(follower)])).flat().filter((key) => key !== row)
      assert.equal(new Set(keys).size, 60)
      for (const page of [leader, follower]) {
        assert.equal(await table(page, 'stock_items', 'count'), 61)
        assert.equal((await table(page, 'stock_items', 'get', row)).seen, 40)
        assert.equal((await status(page)).pending, 101)
      }
      assert.deepEqual(follower.problems, [])
    })
  }
}

for (const call of ['_listRows', '_getRow', '_countRows', '_query', '_useCatalogue']) {
  test(`a reading at which the engine stops is answered by the next one (${call})`, async (t) => {
    const [leader, follower] = await openTabs(t)
    const row = await table(leader, 'stock_items', 'insert', { label: 'kept', sizes: [] })
    await arm(leader, call, 'before')
    const asked = await follower.evaluate((row) => {
      const stock = window.marea.table('stock_items')
      return Promise.all([stock.get(row), stock.list(), stock.count(), window.marea.query('SELECT label FROM stock_items')])
    }, row)
    assert.deepEqual([asked[0].label, asked[1].length, asked[2], asked[3][0].label], ['kept', 1, 1, 'kept'])
    await openMarea(follower, stage, { id: (await status(follower)).user_id, token: null }, { schema })
    assert.equal(await table(follower, 'stock_items', 'count'), 1)
  })
}
