// A mirrored table of an app, as large as the exports of first-sync.mjs: its first sync, and pages of a list by an index.

import { readFileSync } from 'node:fs'
import pg from 'pg'
import { forget } from './first-sync.mjs'
import { median } from './print.mjs'

const LISTS = 300
const WORDS = readFileSync(new URL('../fixtures/bench_words.sql', import.meta.url), 'utf8')
const FILL = `
  INSERT INTO public.bench_words (user_id, word, translation, level, times_seen, ease, due_on, learned, extra, updated_at)
  SELECT $1, 'palabra ' || n, 'word ' || n, (ARRAY['a1', 'a2', 'b1', 'b2'])[1 + n % 4], n % 50, 1.3 + n % 20 * 0.1,
         date '2026-11-01' + n % 90, n % 3 = 0, jsonb_build_object('list', n % 7), now() - ($2::int - n) * interval '1 minute'
  FROM generate_series(1, $2::int) AS n`

export async function mirroredTable({ backend, openStore, signUp, rounds, rows, say }) {
  const learner = await signUp(backend.ready)
  const database = new pg.Client({ connectionString: backend.ready.database_url })
  await database.connect()
  await database.query(WORDS)
  await database.query(FILL, [learner.id, rows])
  await database.query('VACUUM ANALYZE')
  const seen = []
  for (let round = 0; round < rounds; round++) {
    say(`  mirrored table, round ${round + 1} of ${rounds}`)
    const { url, anon_key: anonKey } = backend.ready
    const page = await openStore('marea', { url, anonKey, userId: learner.id, token: learner.token, online: false })
    const { elapsed, rows: came } = await page.evaluate((rows) => window.bench.pull(rows, 'bench_words'), rows)
    if (came !== rows) throw new Error(`${came} of ${rows} rows came`)
    const lists = await page.evaluate((lists) => window.bench.lists('bench_words', lists), LISTS)
    seen.push({ elapsed, p50: lists[Math.floor(LISTS / 2)], p99: lists[Math.floor(LISTS * 0.99)] })
    await forget(page)
    await page.close()
  }
  await database.query('SELECT marea.unmirror(\'public.bench_words\')')
  await database.query('DROP TABLE public.bench_words')
  await database.end()
  const of = (name) => median(seen.map((one) => one[name]))
  return { elapsed: of('elapsed'), rows, p50: of('p50'), p99: of('p99') }
}
