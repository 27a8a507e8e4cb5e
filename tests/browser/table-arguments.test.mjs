// What apps pass by mistake to a mirrored table: refused by table and column, in a tab that leads and in one that follows; and what
// stands for a value of a column: taken. No server.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { browserTest, openMarea, servePage, startBrowser, status, waitFor } from './harness.mjs'
import { openTabs } from './tabs.mjs'

const schema = JSON.parse(readFileSync(new URL('../fixtures/schema/marea.schema.json', import.meta.url), 'utf8'))

let stage, browser
before(async () => {
  stage = { backend: { url: 'http://127.0.0.1:9', anon_key: 'anon' }, ...(await servePage()) }
  browser = await startBrowser(stage)
})

const newLearner = () => ({ id: randomUUID(), token: null })
const STOCK = "marea.table('stock_items')"
const good = "label: 'x', sizes: []"

/** Each call as an app writes it, and how the refusal begins. */
const wrong = [
  ['marea.table()', "table: expected a table's name"],
  ["marea.table('')", "table: expected a table's name"],
  ['marea.table(7)', "table: expected a table's name, got number"],
  [`${STOCK}.insert()`, 'stock_items: expected an object, got undefined'],
  [`${STOCK}.insert([{ ${good} }])`, 'stock_items: expected an object, got array'],
  [`${STOCK}.insert({ ${good}, details: { at: () => 1 } })`, 'stock_items.details.at: expected JSON, got function'],
  [`${STOCK}.insert({ ${good}, details: cycle })`, 'stock_items.details'],
  [`${STOCK}.insert({ ${good}, label: 'x\\ud800' })`, 'stock_items.label: holds half of a character'],
  [`${STOCK}.insert({ ${good}, label: 'x\\u0000' })`, 'stock_items.label'],
  [`${STOCK}.insert({ ${good}, label: 'x'.repeat(201) })`, 'stock_items.label'],
  [`${STOCK}.insert({ ${good}, label: new Uint8Array(1) })`, 'stock_items.label: expected JSON, got Uint8Array'],
  [`${STOCK}.insert({ ${good}, label: 5 })`, 'stock_items.label'],
  [`${STOCK}.insert({ ${good}, label: null })`, 'stock_items.label'],
  [`${STOCK}.insert({ sizes: [] })`, 'stock_items.label'],
  [`${STOCK}.insert({ ${good}, sizes: [1.5] })`, 'stock_items.sizes'],
  [`${STOCK}.insert({ ${good}, sizes: [2 ** 31] })`, 'stock_items.sizes'],
  [`${STOCK}.insert({ ${good}, colour: 'red' })`, 'stock_items.colour'],
  [`${STOCK}.insert({ ${good}, state: 'old' })`, 'stock_items.state'],
  [`${STOCK}.insert({ ${good}, full_label: 'x' })`, 'stock_items.full_label'],
  [`${STOCK}.insert({ ${good}, seen: NaN })`, 'stock_items.seen: expected JSON, got NaN'],
  [`${STOCK}.insert({ ${good}, seen: 5n })`, 'stock_items.seen: expected JSON, got bigint'],
  [`${STOCK}.insert({ ${good}, seen: 3e9 })`, 'stock_items.seen'],
  [`${STOCK}.insert({ ${good}, price: 1e-9 })`, 'stock_items.price: is too great or too small for a number'],
  [`${STOCK}.insert({ ${good}, price: '1.005' })`, 'stock_items.price'],
  [`${STOCK}.insert({ ${good}, checked_at: new Date('x') })`, 'stock_items.checked_at: expected JSON, got invalid Date'],
  [`${STOCK}.insert({ ${good}, checked_at: '2026-11-23' })`, 'stock_items.checked_at'],
  [`${STOCK}.insert({ ${good}, shelf_life: new Date() })`, 'stock_items.shelf_life'],
  [`${STOCK}.insert({ ${good}, photo: 'not base64!' })`, 'stock_items.photo'],
  [`${STOCK}.insert({ ${good}, marks: [] })`, 'stock_items.marks'],
  [`${STOCK}.insert({ ${good}, id: 7 })`, "stock_items.id: expected a row's key, as text, got number"],
  [`${STOCK}.insert({ ${good}, id: 'not a uuid' })`, 'stock_items.id'],
  [`${STOCK}.insert({ get label() { throw new Error('mine') }, sizes: [] })`, 'stock_items: could not be read'],
  [`${STOCK}.update(7, { label: 'x' })`, "stock_items.key: expected a row's key, as text, got number"],
  [`${STOCK}.update('${randomUUID()}')`, 'stock_items: expected an object, got undefined'],
  [`${STOCK}.update('${randomUUID()}', {})`, 'stock_items'],
  [`${STOCK}.update('${randomUUID()}', { label: 'x' })`, 'stock_items.id: there is no such row'],
  [`${STOCK}.update(row, { origin: 'x' })`, 'stock_items.origin'],
  [`${STOCK}.update(row, { seen: 1 })`, 'stock_items.seen'],
  [`${STOCK}.update(row, { id: row })`, 'stock_items.id'],
  [`${STOCK}.add(row, { label: 1 })`, 'stock_items.label'],
  [`${STOCK}.add(row, { seen: 1.5 })`, 'stock_items.seen'],
  [`${STOCK}.add(row, { seen: null })`, 'stock_items.seen'],
  [`${STOCK}.delete()`, "stock_items.key: expected a row's key, as text, got undefined"],
  [`${STOCK}.get(null)`, "key: expected a row's key, as text, got null"],
  [`${STOCK}.list(null)`, 'a query: expected an object, got null'],
  [`${STOCK}.list({ offset: 1 })`, 'offset: is no field of a query; there are where, order, limit, after'],
  [`${STOCK}.list({ where: 'all' })`, 'where: expected an object, got string'],
  [`${STOCK}.list({ where: { seen: { above: 1 } } })`, 'where.seen.above: is no comparison; there are gt, gte'],
  [`${STOCK}.list({ where: { seen: {} } })`, 'where.seen: compares with nothing'],
  [`${STOCK}.list({ where: { seen: [1] } })`, 'where.seen: expected text, a number'],
  [`${STOCK}.list({ where: { label: { in: 'x' } } })`, 'where.label.in: expected a list, got string'],
  [`${STOCK}.list({ where: { label: 'x\\ud800' } })`, 'where.label: holds half of a character'],
  [`${STOCK}.list({ where: { colour: 'red' } })`, ''],
  [`${STOCK}.list({ order: 'label' })`, 'order: expected a list of columns'],
  [`${STOCK}.list({ order: ['colour'] })`, ''],
  [`${STOCK}.list({ limit: 0 })`, ''],
  [`${STOCK}.list({ limit: 1001 })`, ''],
  [`${STOCK}.list({ limit: 1.5 })`, 'limit: expected an integer, got 1.5'],
  [`${STOCK}.list({ after: 5 })`, "after: expected a row's key, as text, got number"],
  [`${STOCK}.count([])`, 'where: expected an object, got array'],
  [`${STOCK}.watch({ limit: NaN }, () => {})`, 'limit: expected an integer, got NaN'],
  [`${STOCK}.watch({}, 'log')`, 'listener: expected a function, got string'],
  [`${STOCK}.watchRow(5, () => {})`, "key: expected a row's key, as text, got number"],
  ['marea.batch()', 'changes: expected a function or a list of changes, got undefined'],
  ['marea.batch([null])', 'op: expected one of insert, update, add, delete'],
  ["marea.batch([{ op: 'upsert', table: 'stock_items' }])", 'op: expected one of insert, update, add, delete'],
  ["marea.batch([{ op: 'insert', values: {} }])", "table: expected a table's name, got undefined"],
  ["marea.batch([{ op: 'delete', table: 'stock_items' }])", "stock_items.key: expected a row's key"],
  [`marea.batch((tx) => { for (let i = 0; i < 501; i++) tx.table('stock_items').insert({ ${good} }) })`, 'changes: a batch has at most 500 changes, got 501'],
  [`marea.batch([{ op: 'insert', table: 'stock_items', values: { ${good} } }, { op: 'update', table: 'stock_items', key: row, values: { seen: 1 } }])`, 'stock_items.seen'],
  ["marea.table('settings').insert({ theme: 'x', user_id: '00000000-0000-4000-8000-000000000000' })", 'settings.user_id'],
  ['marea.query()', 'sql: expected one SELECT, as text, got undefined'],
  ["marea.query('SELECT 1', 5)", 'parameters: expected a list of parameters, got number'],
  ["marea.query('SELECT ?1', [NaN])", 'parameters[0]: expected text, a number, true, false, null or a Date, got NaN'],
  ["marea.query('SELECT ?1', [{}])", 'parameters[0]: expected text'],
  ["marea.query('SELECT ?1', ['x\\ud800'])", 'parameters[0]: holds half of a character'],
  ["marea.watchQuery('SELECT 1', {}, () => {})", 'parameters: expected a list of parameters, got object'],
  ["marea.deleteExport(7)", 'id: expected a UUID, got number'],
]

test('a wrong argument is refused by table and column, and the tab that leads goes on', async (t) => {
  const tabs = await openTabs(t, browser, stage, newLearner(), 2, { schema })
  const row = await tabs[0].evaluate(() => window.marea.table('stock_items').insert({ label: 'Cup', sizes: [] }))
  for (const page of tabs) {
    const failures = await page.evaluate(([calls, row]) => {
      const cycle = {}
      cycle.self = { cycle }
      const run = new Function('marea', 'cycle', 'row', 'call', 'return eval(call)')
      return Promise.all(calls.map((call) => window.failureOf(async () => run(window.marea, cycle, row, call))))
    }, [wrong.map(([call]) => call), row])
    wrong.forEach(([call, expected], index) => {
      const failure = failures[index]
      assert.deepEqual([failure?.name, failure?.code, failure?.retry], ['MareaError', 'invalid_input', false], `${call}: ${failure?.message}`)
      assert.ok(failure.message.startsWith(expected), `${call}: ${failure.message}`)
    })
    assert.doesNotMatch(failures.map((failure) => failure.message).join('\n'), /mine|not base64|not a uuid/)
  }
  for (const page of tabs) {
    assert.equal(await page.evaluate(() => window.marea.table('stock_items').count()), 1)
    assert.equal((await status(page)).pending, 1)
    assert.deepEqual(page.problems, [])
  }
})

test('a schema that is none is refused by open', async (t) => {
  const page = await browser.newPage(t)
  for (const [given, expected] of [
    [{ schema: { schema } }, 'schema: is the whole module; pass its `schema`'],
    [{ schema: 'marea.schema.json' }, 'schema: expected `schema` of the module'],
    [{ schema: null }, 'schema: expected `schema` of the module'],
    [{ schema: { tables: {} } }, 'schema: expected `schema` of the module'],
    [{ schema: { ...schema, version: 7 } }, 'schema'],
    [{ schema: { ...schema, tables: [{ ...schema.tables[0], name: 'No Name' }] } }, 'schema'],
  ]) {
    const options = { url: stage.backend.url, anonKey: stage.backend.anon_key, userId: randomUUID(), ...given }
    const failure = await page.evaluate((options) => window.failureOf(() => window.openMarea(options)), options)
    assert.deepEqual([failure?.code, failure?.message.startsWith(expected)], ['invalid_input', true], failure?.message)
  }
})

test('a schema is a schema also as it is frozen, or a proxy of a store', async (t) => {
  const page = await browser.newPage(t)
  const key = await page.evaluate(async ([schema, options]) => {
    const reactive = (value) => (value === null || typeof value !== 'object' ? value : new Proxy(value, { get: (of, key) => reactive(Reflect.get(of, key)) }))
    await window.openMarea({ ...options, schema: reactive(schema) })
    return window.marea.table('stock_items').insert({ label: 'Cup', sizes: [] })
  }, [schema, { url: stage.backend.url, anonKey: stage.backend.anon_key, userId: randomUUID() }])
  assert.match(key, /^[\da-f-]{36}$/)
})

test('proxies, dates, bytes, big integers and what is left undefined are taken, as a copy', async (t) => {
  for (const page of await openTabs(t, browser, stage, newLearner(), 2, { schema })) {
    const row = await page.evaluate(async () => {
      const reactive = (value) =>
        value === null || typeof value !== 'object' || value instanceof Date || value instanceof Uint8Array ? value : new Proxy(value, { get: (of, key) => reactive(Reflect.get(of, key)) })
      const values = {
        label: 'Cup', sizes: [1, null], tags: undefined, price: 2.5, 'in stock': 9007199254740993n, weight: Infinity, photo: new Uint8Array([255]),
        checked_at: new Date('2026-11-20T10:00:00.000Z'), details: { at: new Date(0), gone: undefined, list: [1] }, marks: { a: '2026-01-01' },
      }
      const inserted = window.marea.table('stock_items').insert(reactive(values))
      values.details.list.push('changed after the call')
      const { id: _, ...row } = await window.marea.table('stock_items').get(await inserted)
      return row
    })
    assert.deepEqual(
      { label: row.label, sizes: row.sizes, price: row.price, stock: row['in stock'], weight: row.weight, photo: row.photo, at: row.checked_at, details: row.details, marks: row.marks },
      {
        label: 'Cup', sizes: [1, null], price: '2.50', stock: '9007199254740993', weight: 'Infinity', photo: '/w==', at: '2026-11-20T10:00:00.000000Z',
        details: { at: '1970-01-01T00:00:00.000Z', list: [1] }, marks: { a: '2026-01-01' },
      },
    )
  }
})

browserTest('what is written while the page goes is done by the next one', async (t) => {
  const learner = newLearner()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { schema, online: false })
  await page.evaluate(() => {
    window.addEventListener('pagehide', () => {
      void window.marea.table('stock_items').insert({ id: '00000000-0000-4000-8000-00000000000a', label: 'At the last moment', sizes: [] })
      void window.marea.table('stock_items').update('00000000-0000-4000-8000-00000000000a', { origin: undefined, price: '1.00' })
      void window.marea.table('stock_items').add('00000000-0000-4000-8000-00000000000a', { seen: 2 })
      void window.marea.batch((tx) => void tx.table('stock_items').insert({ id: '00000000-0000-4000-8000-00000000000b', label: 'And another', sizes: [] }))
    })
  })
  await page.reload()
  await page.waitForFunction(() => window.ready === true)
  await openMarea(page, stage, learner, { schema, online: false })
  const labels = () => page.evaluate(async () => (await window.marea.table('stock_items').list({ order: ['label'] })).map(({ label, price, seen }) => `${label} ${price} ${seen}`))
  const found = await waitFor('what the page left', labels, ({ length }) => length === 2)
  assert.deepEqual(found, ['And another null 0', 'At the last moment 1.00 2'])
})
