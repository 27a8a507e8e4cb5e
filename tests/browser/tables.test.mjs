// Mirrored tables, with a real backend: two devices and their tabs, offline and back, and the app in two versions.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { load, openMarea, startBrowser, status, sync, waitFor, waitUntilSent } from './harness.mjs'
import { failureOf, openTab, query, startTables, table } from './tables-stage.mjs'
import { leadingPage } from './tabs.mjs'

let stage, first, second, schema
before(async () => {
  stage = await startTables()
  schema = stage.schema()
  ;[first, second] = [await startBrowser(stage), await startBrowser(stage)]
})

const inPostgres = async (name, learner, columns = '*') =>
  (await stage.database.query(`SELECT ${columns} FROM ${name} WHERE ${name.startsWith('stock.') ? 'owner' : 'user_id'} = $1 ORDER BY 1`, [learner.id])).rows

const MIRROR_LISTS = `SELECT marea.mirror('public.word_lists', rules => '{"created_at": "once", "updated_at": "server"}')`

const setOnline = (page, online) => page.evaluate((online) => window.marea.setOnline(online), online)
const sent = async (...pages) => {
  for (const page of pages) {
    await setOnline(page, true)
    await sync(page)
    await waitUntilSent(page)
  }
}

test('two devices write offline, and both have everything afterwards', async (t) => {
  const learner = await stage.signUp()
  const one = await openTab(t, first, stage, learner, { schema })
  const list = await table(one, 'word_lists', 'insert', { title: 'Animals' })
  assert.match(list, /^[\da-f]{8}-[\da-f]{4}-7/)
  const item = await table(one, 'vocabulary_items', 'insert', { list_id: list, word: 'gato', source: 'book' })
  const review = await table(one, 'word_reviews', 'insert', { item_id: item, due_on: '2026-12-01' })
  await sent(one)
  const other = await openTab(t, second, stage, learner, { schema })
  await sync(other)
  assert.equal((await table(other, 'vocabulary_items', 'get', item)).word, 'gato')

  await setOnline(one, false)
  await setOnline(other, false)
  await table(one, 'vocabulary_items', 'update', item, { translation: 'cat', level: 'b1' })
  await table(one, 'word_reviews', 'add', review, { times_seen: 2, score: '0.10' })
  await table(other, 'vocabulary_items', 'update', item, { tags: ['pet', null] })
  await table(other, 'word_reviews', 'add', review, { times_seen: 3, score: '0.20', times_right: '9007199254740993' })
  await table(other, 'word_reviews', 'update', review, { ease: 2.6 })
  const gone = await table(one, 'word_lists', 'insert', { title: 'To be deleted' })
  await table(one, 'word_lists', 'delete', gone)
  assert.equal(await table(one, 'word_lists', 'get', gone), null)
  await sent(one, other, one)

  for (const page of [one, other]) {
    const { updated_at, ...row } = await table(page, 'vocabulary_items', 'get', item)
    assert.match(updated_at, /^20\d\d-.*T.*\.\d{6}Z$/)
    assert.deepEqual(row, {
      id: item, list_id: list, word: 'gato', translation: 'cat', level: 'b1', tags: ['pet', null], source: 'book', word_length: 4,
    })
    const { times_seen, times_right, score, ease } = await table(page, 'word_reviews', 'get', review)
    assert.deepEqual([times_seen, times_right, score, ease], [5, '9007199254740993', '0.30', 2.6])
    assert.equal(await table(page, 'word_lists', 'count'), 1)
  }
  const [there] = await inPostgres('public.word_reviews', learner)
  assert.deepEqual([there.times_seen, there.times_right, there.score], [5, '9007199254740993', '0.30'])
  assert.equal((await inPostgres('public.word_lists', learner)).length, 1)
})

test('every kind of value goes there and back, and is in the form that the types say', async (t) => {
  const learner = await stage.signUp()
  const [one, other] = [await openTab(t, first, stage, learner, { schema }), await openTab(t, second, stage, learner, { schema })]
  await one.evaluate(() =>
    window.marea.batch((tx) => {
      tx.table('stock_places').insert({ code: 'A-1', label: '🫖 "tea" \\ \u2028', moved: new Date('2026-11-20T10:00:00.123Z') })
      tx.table('stock_parts').insert({
        id: '019ab000-0000-7000-8000-00000000000A', place: 'A-1', name: 'Cup', price: 12.5, weight: '0.000000000000000000001', quantity: 5,
        photo: new Uint8Array([0, 255, 128]), serials: [1, null], related: ['019AB000-0000-7000-8000-00000000000B'], lastSeen: '2026-11-20T10:00:00',
        details: { a: [null, 1e300, 'x'] },
      })
    }),
  )
  const place = { code: 'A-1', label: '🫖 "tea" \\ \u2028', moved: '2026-11-20T10:00:00.123000Z' }
  const part = {
    id: '019ab000-0000-7000-8000-00000000000a', place: 'A-1', name: 'Cup', price: '12.5000', weight: '0.000000000000000000001', quantity: 5,
    photo: 'AP+A', serials: [1, null], related: ['019ab000-0000-7000-8000-00000000000b'], lastSeen: '2026-11-20T10:00:00.000000', details: { a: [null, 1e300, 'x'] },
  }
  const seen = async (page) => [await table(page, 'stock_places', 'get', 'A-1'), await table(page, 'stock_parts', 'get', part.id)]
  assert.deepEqual(await seen(one), [place, part])
  await sent(one, other)
  assert.deepEqual(await seen(one), [place, part])
  assert.deepEqual(await seen(other), [place, part])
  const [row] = await inPostgres('stock.parts', learner, "encode(photo, 'hex') AS photo, price, weight, serials")
  assert.deepEqual(row, { photo: '00ff80', price: '12.5000', weight: '0.000000000000000000001', serials: [1, null] })
})

test('a row that is keyed by the user needs no key, and a table of the server takes no write', async (t) => {
  const learner = await stage.signUp()
  const page = await openTab(t, first, stage, learner, { schema })
  assert.equal(await table(page, 'user_settings', 'insert', { theme: 'dark', daily_goal: 5 }), learner.id)
  await sent(page)
  assert.deepEqual(await inPostgres('public.user_settings', learner, 'theme, daily_goal'), [{ theme: 'dark', daily_goal: 5 }])
  await stage.database.query("INSERT INTO public.word_of_the_day (user_id, word, day) VALUES ($1, 'marea', '2026-11-23')", [learner.id])
  await sync(page)
  const [{ id, ...word }] = await table(page, 'word_of_the_day', 'list')
  assert.deepEqual(word, { day: '2026-11-23', word: 'marea' })
  const refused = await failureOf(page, "marea.table('word_of_the_day').update($0, { word: 'y' })", id)
  assert.equal(refused?.code, 'invalid_input')
})

test('a batch is all or nothing, here and on the server', async (t) => {
  const learner = await stage.signUp()
  const page = await openTab(t, first, stage, learner, { schema })
  const keys = await page.evaluate(() =>
    window.marea.batch((tx) => {
      const list = tx.table('word_lists').insert({ title: 'Colours' })
      for (const word of ['rojo', 'verde']) tx.table('vocabulary_items').insert({ list_id: list, word })
      tx.table('word_lists').update(list, { position: 1 })
    }),
  )
  assert.deepEqual([keys.length, keys[0], new Set(keys).size], [4, keys[3], 3])
  await sent(page)
  assert.deepEqual((await inPostgres('public.vocabulary_items', learner, 'word')).map(({ word }) => word), ['rojo', 'verde'])

  // One that cannot be: nothing is done here.
  const wrong = await failureOf(page, `marea.batch([
    { op: 'insert', table: 'word_lists', values: { title: 'Never' } },
    { op: 'update', table: 'vocabulary_items', key: $0, values: { source: 'set once' } },
  ])`, keys[1])
  assert.deepEqual([wrong?.code, await table(page, 'word_lists', 'count')], ['invalid_input', 1])

  // One that the server refuses: nothing is done there.
  await page.evaluate(([list, item]) => window.marea.batch([
    { op: 'insert', table: 'word_reviews', values: { item_id: item, interval_days: 9999 } },
    { op: 'update', table: 'word_lists', key: list, values: { position: 2 } },
  ]), keys)
  await sync(page)
  const refused = await waitFor('the batch to be refused', () => page.evaluate(() => window.marea.rejected()), ({ length }) => length === 2)
  assert.deepEqual(refused.map(({ refusal }) => refusal.code).sort(), ['23514', 'MB001'])
  assert.deepEqual(await inPostgres('public.word_lists', learner, 'title, position'), [{ title: 'Colours', position: 1 }])
  assert.deepEqual(await inPostgres('public.word_reviews', learner), [])
})

test('list, count, watch: what the query says, in its order, page by page', async (t) => {
  const learner = await stage.signUp()
  const page = await openTab(t, first, stage, learner, { schema, online: false })
  const list = await table(page, 'word_lists', 'insert', { title: 'Numbers' })
  const words = ['uno', 'dos', 'tres', 'cuatro', 'cinco']
  await page.evaluate(([list, words]) => window.marea.batch((tx) => {
    for (const [index, word] of words.entries()) {
      tx.table('vocabulary_items').insert({ list_id: list, word, level: index < 2 ? 'a1' : 'b1', translation: index === 4 ? null : word.toUpperCase() })
    }
  }), [list, words])
  const found = async (query) => (await table(page, 'vocabulary_items', 'list', query)).map(({ word }) => word)
  assert.deepEqual(await found({ order: ['word'] }), ['cinco', 'cuatro', 'dos', 'tres', 'uno'])
  assert.deepEqual(await found({ where: { level: 'a1' }, order: ['-word'] }), ['uno', 'dos'])
  assert.deepEqual(await found({ where: { word: { gte: 'd', lt: 'u' } }, order: ['word'] }), ['dos', 'tres'])
  assert.deepEqual(await found({ where: { word: { in: ['uno', 'seis'] } } }), ['uno'])
  assert.deepEqual(await found({ where: { translation: null } }), ['cinco'])
  assert.equal(await table(page, 'vocabulary_items', 'count', { translation: { ne: null } }), 4)
  const all = await table(page, 'vocabulary_items', 'list', { order: ['level', 'word'], limit: 2 })
  const rest = await found({ order: ['level', 'word'], after: all[1].id })
  assert.deepEqual([...all.map(({ word }) => word), ...rest], ['dos', 'uno', 'cinco', 'cuatro', 'tres'])

  await page.evaluate(() => {
    window.told = { list: [], row: [] }
    const stops = [
      window.marea.table('vocabulary_items').watch({ where: { level: 'a1' }, order: ['word'] }, (rows) => window.told.list.push(rows.map(({ word }) => word).join(' '))),
      window.marea.table('word_lists').watchRow('019ab000-0000-7000-8000-000000000000', (row) => window.told.row.push(row)),
    ]
    window.stop = () => stops.forEach((stop) => stop())
  })
  await waitFor('the first rows', () => page.evaluate(() => window.told), (told) => told.list.length === 1 && told.row.length === 1)
  await table(page, 'vocabulary_items', 'update', all[0].id, { level: 'b2' })
  const told = await waitFor('the other rows', () => page.evaluate(() => window.told), (seen) => seen.list.length === 2)
  assert.deepEqual(told, { list: ['dos uno', 'uno'], row: [null] })
  await page.evaluate(() => window.stop())
})

test('a second tab writes, reads and watches tables through the one that leads', async (t) => {
  const learner = await stage.signUp()
  const [leader, follower] = [await openTab(t, first, stage, learner, { schema, online: false }), await openTab(t, first, stage, learner, { schema })]
  await follower.evaluate(() => {
    window.seen = []
    window.marea.watchQuery('SELECT count(*) AS lists FROM word_lists', [], ([{ lists }]) => window.seen.push(lists))
  })
  await table(leader, 'word_lists', 'insert', { title: 'One' })
  const key = await table(follower, 'word_lists', 'insert', { title: 'Two' })
  await table(follower, 'word_lists', 'update', key, { position: 3 })
  await waitFor('the watcher to be told', () => follower.evaluate(() => window.seen.at(-1)), (lists) => lists === 2)
  assert.equal((await table(leader, 'word_lists', 'get', key)).position, 3)

  // While the leader goes, writes are under way: each is done once.
  await follower.evaluate(() => {
    window.made = Array.from({ length: 30 }, (_, index) => window.marea.table('word_lists').insert({ title: `under way ${index}` }))
  })
  await leader.close()
  const keys = await follower.evaluate(() => Promise.all(window.made))
  assert.equal(new Set(keys).size, 30)
  assert.equal(await table(follower, 'word_lists', 'count'), 32)
  await sent(follower)
  assert.equal((await inPostgres('public.word_lists', learner)).length, 32)
})

test('what was written offline is there after a reload, and arrives once', async (t) => {
  const learner = await stage.signUp()
  const page = await openTab(t, first, stage, learner, { schema, online: false })
  const key = await table(page, 'word_lists', 'insert', { title: 'Kept' })
  await load(page, stage)
  await openMarea(page, stage, learner, { schema, online: false })
  assert.equal((await table(page, 'word_lists', 'get', key)).title, 'Kept')
  assert.equal((await status(page)).pending, 1)
  await sent(page)
  assert.equal((await inPostgres('public.word_lists', learner)).length, 1)
})

test('without a schema the tables are learned at the first sync, and kept', async (t) => {
  const learner = await stage.signUp()
  const page = await openTab(t, first, stage, learner, { online: false })
  const unknown = await failureOf(page, "marea.table('word_lists').insert({ title: 'Too soon' })")
  assert.deepEqual([unknown?.code, unknown?.retry], ['unknown_table', false])
  assert.equal((await failureOf(page, "marea.table('word_lists').list()"))?.code, 'unknown_table')
  await setOnline(page, true)
  await sync(page)
  const key = await table(page, 'word_lists', 'insert', { title: 'Learned' })
  await load(page, stage)
  await openMarea(page, stage, learner, { online: false })
  assert.equal((await table(page, 'word_lists', 'get', key)).title, 'Learned')
  const own = await table(page, 'user_settings', 'insert', { theme: 'dark' })
  assert.equal(own, learner.id)
  await sent(page)
  assert.deepEqual((await inPostgres('public.word_lists', learner, 'title')), [{ title: 'Learned' }])
})

test('an older and a newer version of the app are open at once, and a column is added in between', async (t) => {
  const learner = await stage.signUp()
  const old = await openTab(t, first, stage, learner, { schema })
  const key = await table(old, 'word_lists', 'insert', { title: 'Before' })
  await setOnline(old, false)
  await table(old, 'word_lists', 'insert', { title: 'Unsent' })
  await stage.database.query(`ALTER TABLE public.word_lists ADD COLUMN icon text DEFAULT 'star'; ${MIRROR_LISTS}`)
  t.after(() => stage.database.query(`ALTER TABLE public.word_lists DROP COLUMN icon; ${MIRROR_LISTS}`))
  const newer = await openTab(t, first, stage, learner, { schema: stage.schema() })
  assert.equal(await table(newer, 'word_lists', 'count'), 2)
  await table(newer, 'word_lists', 'update', key, { icon: 'moon' })
  await table(old, 'word_lists', 'update', key, { title: 'After' })
  await sent(newer)
  const { title, icon } = await table(newer, 'word_lists', 'get', key)
  assert.deepEqual([title, icon], ['After', 'moon'])
  assert.deepEqual(await inPostgres('public.word_lists', learner, 'title, icon').then((rows) => rows.map(({ title, icon }) => `${title} ${icon}`).sort()), ['After moon', 'Unsent star'])
  assert.equal((await status(newer)).rejected, 0)
  // Whoever leads next goes on with the newer one's tables.
  const leader = await leadingPage([old, newer])
  await leader.close()
  const left = leader === old ? newer : old
  assert.equal((await query(left, 'SELECT icon FROM word_lists WHERE id = ?1', [key]))[0].icon, 'moon')
})

test('a second device that comes late has all tables by one sync', async (t) => {
  const learner = await stage.signUp()
  const one = await openTab(t, first, stage, learner, { schema })
  await one.evaluate(async () => {
    for (let batch = 0; batch < 10; batch++) {
      await window.marea.batch((tx) => {
        const list = tx.table('word_lists').insert({ title: `List ${batch}` })
        for (let item = 0; item < 200; item++) tx.table('vocabulary_items').insert({ list_id: list, word: `w${item}` })
      })
    }
  })
  await sent(one)
  const other = await openTab(t, second, stage, learner, { schema })
  await sync(other)
  const counts = await query(other, 'SELECT (SELECT count(*) FROM word_lists) AS lists, (SELECT count(*) FROM vocabulary_items) AS items')
  assert.deepEqual(counts, [{ lists: 10, items: 2000 }])
})

test('an export is deleted, on every device', async (t) => {
  const learner = await stage.signUp()
  const [one, other] = [await openTab(t, first, stage, learner), await openTab(t, second, stage, learner)]
  const { id } = await one.evaluate(() => window.marea.createExport({ export_type: 'progress', export_format: 'csv' }))
  await sent(one, other)
  assert.equal((await other.evaluate((id) => window.marea.export(id), id)).status, 'pending')
  await one.evaluate((id) => window.marea.deleteExport(id), id)
  assert.equal(await one.evaluate((id) => window.marea.export(id), id), null)
  await sent(one, other)
  assert.equal(await other.evaluate((id) => window.marea.export(id), id), null)
  assert.deepEqual(await inPostgres('public.export_history', learner), [])
})
