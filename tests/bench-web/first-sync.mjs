// The first sync of a learner who has many exports, from the same Postgres through the same PostgREST.

import pg from 'pg'
import { median } from './print.mjs'

const STORES = ['marea', 'rxdb', 'legend']

export async function firstSync({ backend, openStore, signUp, rounds, rows, say }) {
  const learner = await signUp(backend.ready)
  const database = new pg.Client({ connectionString: backend.ready.database_url })
  await database.connect()
  // As an app in use would have left them, one after the other.
  await database.query(
    `INSERT INTO public.export_history (user_id, export_type, export_format, status, records_count, file_size_bytes, filters, data, created_at)
     SELECT $1, 'progress', 'json', 'completed', i, i * 1000, '{"days": 30}', '{"note": "one of many"}', now() - ($2::int - i) * interval '1 minute'
     FROM generate_series(1, $2::int) i`,
    [learner.id, rows],
  )
  await database.query('ANALYZE public.export_history')
  await database.end()
  const seen = Object.fromEntries(STORES.map((store) => [store, []]))
  for (let round = 0; round < rounds; round++) {
    for (const store of STORES) {
      say(`  first sync, round ${round + 1} of ${rounds}: ${store}`)
      const { url, anon_key: anonKey } = backend.ready
      const page = await openStore(store, { url, anonKey, userId: learner.id, token: learner.token, online: false })
      seen[store].push(await page.evaluate((rows) => window.bench.pull(rows), rows))
      await forget(page)
      await page.close()
    }
  }
  return Object.fromEntries(
    STORES.map((store) => [
      store,
      { elapsed: median(seen[store].map(({ elapsed }) => elapsed)), rows: Math.min(...seen[store].map((pull) => pull.rows)) },
    ]),
  )
}

/** Everything that the site has kept, so that the next round is a first one. */
export async function forget(page) {
  const session = await page.context().newCDPSession(page)
  await session.send('Storage.clearDataForOrigin', { origin: new URL(page.url()).origin, storageTypes: 'all' })
  await session.detach()
}
