// `query`: what it reads, what it must not, and that nothing that is asked stops the one that leads. No server but for the tables' catalogue.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { startBrowser, waitFor } from './harness.mjs'
import { failureOf, openTab, query, startTables, table } from './tables-stage.mjs'

let stage, browser, schema
before(async () => {
  stage = await startTables()
  schema = stage.schema()
  browser = await startBrowser(stage)
})

/** A learner with a few rows, offline, in a tab that leads and one that follows. */
async function openTabs(t) {
  const learner = await stage.signUp()
  const leader = await openTab(t, browser, stage, learner, { schema, online: false })
  await leader.evaluate(() =>
    window.marea.batch((tx) => {
      const list = tx.table('word_lists').insert({ title: "It's 100 %" })
      for (const [word, level] of [['gato', 'a1'], ['perro', 'a1'], ['jirafa', 'b2']]) {
        tx.table('vocabulary_items').insert({ list_id: list, word, level, tags: [level] })
      }
      tx.table('stock_parts').insert({ name: 'Cup', quantity: 7, photo: new Uint8Array([1, 2, 3]), price: '0.10', details: { length: 4 } })
      tx.table('word_reviews').insert({ item_id: list, times_right: '9007199254740993' })
    }),
  )
  return [leader, await openTab(t, browser, stage, learner, { schema, online: false })]
}

test('a query reads the mirrored tables, with parameters, joins, JSON, dates and windows', async (t) => {
  for (const page of await openTabs(t)) {
    assert.deepEqual(await query(page, 'SELECT word FROM vocabulary_items WHERE level = ?1 AND length(word) > ?2 ORDER BY word', ['a1', 4]), [{ word: 'perro' }])
    const joined = await query(page, `
      SELECT l.title, i.level, count(*) AS n, sum(length(i.word)) AS letters
      FROM vocabulary_items i JOIN word_lists l ON l.id = i.list_id GROUP BY 1, 2 ORDER BY 2`)
    assert.deepEqual(joined, [{ title: "It's 100 %", level: 'a1', n: 2, letters: 9 }, { title: "It's 100 %", level: 'b2', n: 1, letters: 6 }])
    assert.deepEqual(await query(page, 'WITH w AS (SELECT word, row_number() OVER (ORDER BY word DESC) AS place FROM vocabulary_items) SELECT * FROM w WHERE place = 1'), [
      { word: 'perro', place: 1 },
    ])
    assert.deepEqual(await query(page, "SELECT value FROM vocabulary_items, json_each(tags) GROUP BY value ORDER BY value"), [{ value: 'a1' }, { value: 'b2' }])
    assert.deepEqual(await query(page, "SELECT quantity, photo, price, json_extract(details, '$.length') AS length, NULL AS empty FROM stock_parts"), [
      { quantity: 7, photo: 'AQID', price: '0.1000', length: 4, empty: null },
    ])
    assert.deepEqual(await query(page, 'SELECT times_right FROM word_reviews'), [{ times_right: '9007199254740993' }])
    assert.deepEqual(await query(page, "SELECT date('2026-11-23', '+1 day') AS day"), [{ day: '2026-11-24' }])
    const typed = await page.evaluate(() => window.marea.query('SELECT ?1 AS big, ?2 AS yes, ?3 AS at, ?4 AS empty', [9007199254740993n, true, new Date(0), null]))
    assert.deepEqual(typed, [{ big: '9007199254740993', yes: 1, at: '1970-01-01T00:00:00.000000Z', empty: null }])
  }
})

test('the built-in tables can be read too, but for the keys', async (t) => {
  const [page] = await openTabs(t)
  await page.evaluate(() => window.marea.recordSession({ session_type: 'qa' }))
  assert.equal((await query(page, 'SELECT total_sessions FROM user_progress'))[0].total_sessions, 1)
  assert.equal((await query(page, 'SELECT count(*) AS n FROM daily_activity'))[0].n, 1)
  assert.equal((await query(page, 'SELECT count(*) AS n FROM export_history'))[0].n, 0)
})

/** What must be refused, whoever asks. */
const refused = [
  'SELECT * FROM user_api_keys', 'SELECT * FROM mutations', 'SELECT * FROM meta', 'SELECT * FROM sqlite_master', 'SELECT * FROM sqlite_schema',
  'SELECT * FROM pragma_table_info(\'vocabulary_items\')', 'SELECT * FROM vocabulary_items JOIN mutations', 'SELECT (SELECT max(id) FROM mutations)',
  'WITH vocabulary_items AS (SELECT * FROM mutations) SELECT * FROM vocabulary_items', 'SELECT * FROM main.mutations', 'SELECT * FROM temp.sqlite_master',
  'PRAGMA user_version', 'PRAGMA journal_mode = DELETE', "ATTACH 'x' AS x", 'DETACH main', 'VACUUM', 'ANALYZE', 'REINDEX', 'BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT x',
  'DELETE FROM vocabulary_items', "UPDATE vocabulary_items SET word = 'x'", "INSERT INTO word_lists (id) VALUES ('x')", 'REPLACE INTO word_lists (id) VALUES (1)',
  'DROP TABLE vocabulary_items', 'CREATE TABLE x (y)', 'CREATE TEMP TABLE x (y)', 'CREATE VIEW v AS SELECT 1', 'CREATE TRIGGER x AFTER INSERT ON vocabulary_items BEGIN SELECT 1; END',
  'CREATE VIRTUAL TABLE x USING fts5(y)', 'ALTER TABLE vocabulary_items RENAME TO other', 'ALTER TABLE vocabulary_items ADD COLUMN x', 'CREATE INDEX i ON vocabulary_items (word)',
  'EXPLAIN SELECT 1', 'SELECT 1; SELECT 2', 'SELECT 1; DELETE FROM vocabulary_items', "SELECT load_extension('x')", 'SELECT', 'SELEC 1', 'SELECT * FROM nowhere', 'SELECT nothing FROM vocabulary_items',
  'SELECT ?1', '   ', '-- only a comment', ';', 'SELECT "word', "SELECT 'x", 'WITH x AS (DELETE FROM vocabulary_items RETURNING *) SELECT * FROM x', 'VALUES (1), (2, 3)',
  'SELECT CURRENT_TIMESTAMP FROM mutations', "SELECT fts3_tokenizer('x')", "SELECT writefile('x', 'y')", "SELECT edit('x')",
]

test('what is no reading of the mirrored tables is refused, and the one that leads goes on', async (t) => {
  const [leader, follower] = await openTabs(t)
  const workers = leader.workers().length
  for (const page of [follower, leader]) {
    for (const sql of refused) {
      const failure = await failureOf(page, 'marea.query($0)', sql)
      assert.ok(['query_refused', 'invalid_input'].includes(failure?.code), `${sql}: ${JSON.stringify(failure)}`)
      assert.deepEqual([failure.isError, failure.retry], [true, false], sql)
    }
    assert.equal(await table(page, 'vocabulary_items', 'count'), 3)
  }
  assert.equal(leader.workers().length, workers)
  assert.equal(await leader.evaluate(() => window.marea.leads), true)
  assert.deepEqual([...leader.problems, ...follower.problems], [])
})

/** What has no end, or is too much. */
const endless = [
  'WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n',
  'WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n',
  "WITH RECURSIVE n (i) AS (SELECT 'x' UNION ALL SELECT i || i FROM n) SELECT max(length(i)) FROM n",
  'SELECT hex(zeroblob(1000000000))', 'SELECT randomblob(2000000000)', "SELECT printf('%.*c', 2000000000, 'x')",
  "SELECT replace(hex(zeroblob(1000000)), '0', hex(zeroblob(1000)))",
  `SELECT ${'('.repeat(5000)}1${')'.repeat(5000)}`, `SELECT ${Array.from({ length: 3000 }, () => '1').join(' + ')}`, `SELECT ${Array.from({ length: 5000 }, () => '1').join(', ')}`,
  `SELECT 1 WHERE ${Array.from({ length: 600 }, () => '1 IN (SELECT 1)').join(' UNION SELECT 1 WHERE ')}`,
  "SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' LIKE '%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%b'",
]

test('what has no end, or is too much, is ended with a word for it, and the one that leads goes on', async (t) => {
  const [leader] = await openTabs(t)
  const workers = leader.workers().length
  for (const sql of endless) {
    const failure = await failureOf(leader, 'marea.query($0)', sql)
    assert.ok(failure === null || ['query_limit', 'query_refused', 'invalid_input'].includes(failure.code), `${sql.slice(0, 100)}: ${JSON.stringify(failure)}`)
    assert.equal(await table(leader, 'vocabulary_items', 'count'), 3)
  }
  assert.equal(leader.workers().length, workers)
  assert.equal(await leader.evaluate(() => window.marea.leads), true)
})

test('two columns of one name are told, and not lost', async (t) => {
  const [page] = await openTabs(t)
  const failure = await failureOf(page, "marea.query('SELECT i.id, l.id FROM vocabulary_items i JOIN word_lists l ON l.id = i.list_id')")
  assert.equal(failure?.code, 'invalid_input')
  assert.match(failure.message, /two columns .* called id/)
})

test('a watcher of a query is told when a table of it changes, and only of another answer', async (t) => {
  const [leader, follower] = await openTabs(t)
  await follower.evaluate(() => {
    window.told = []
    const sql = 'SELECT level, count(*) AS n FROM vocabulary_items GROUP BY level ORDER BY level'
    window.stop = window.marea.watchQuery(sql, [], (rows) => window.told.push(rows.map(({ level, n }) => `${level} ${n}`).join(', ')))
  })
  const told = () => follower.evaluate(() => window.told)
  await waitFor('the first answer', told, (seen) => seen.length === 1)
  await table(leader, 'word_lists', 'insert', { title: 'Changes nothing of it' })
  const [{ id }] = await table(leader, 'vocabulary_items', 'list', { where: { word: 'jirafa' } })
  await table(leader, 'vocabulary_items', 'delete', id)
  await waitFor('the second answer', told, (seen) => seen.length === 2)
  assert.deepEqual(await told(), ['a1 2, b2 1', 'a1 2'])
  await follower.evaluate(() => window.stop())
  const wrong = await failureOf(follower, "marea.watchQuery(7, [], () => {})")
  assert.equal(wrong?.code, 'invalid_input')
  const later = await follower.evaluate(() => new Promise((resolve) => window.marea.watchQuery('SELECT * FROM mutations', [], () => resolve('rows'), ({ code }) => resolve(code))))
  assert.equal(later, 'query_refused')
})
