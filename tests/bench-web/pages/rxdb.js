// RxDB on Dexie (IndexedDB with relaxed durability: a write is acknowledged before it is on the disk).

import { createClient } from '@supabase/supabase-js'
import { createRxDatabase } from 'rxdb/plugins/core'
import { replicateSupabase } from 'rxdb/plugins/replication-supabase'
import { getRxStorageDexie } from 'rxdb/plugins/storage-dexie'
import { measured, session } from './measure.js'

const text = { type: 'string' }
const number = { type: 'number' }
const sessions = {
  version: 0,
  primaryKey: 'id',
  type: 'object',
  properties: {
    id: { type: 'string', maxLength: 36 },
    session_type: text,
    ended_at: text,
    duration_minutes: number,
    qa_attempts: number,
    qa_correct: number,
  },
}
// The columns of `export_history`; JSON has no type that a schema need name.
const exports = {
  version: 0,
  primaryKey: 'id',
  type: 'object',
  properties: { id: { type: 'string', maxLength: 36 }, updated_at: text },
  additionalProperties: true,
}
let database, options

window.bench = measured({
  async open(asked) {
    options = asked
    database = await createRxDatabase({ name: `rx-${asked.userId}`, storage: getRxStorageDexie() })
    await database.addCollections({ sessions: { schema: sessions }, exports: { schema: exports } })
  },
  write: () => database.sessions.insert(session()),
  read: () => database.sessions.count().exec(),
  async pull(rows) {
    const start = performance.now()
    const client = createClient(options.url, options.anonKey, { accessToken: async () => options.token })
    const replication = replicateSupabase({
      replicationIdentifier: 'exports',
      collection: database.exports,
      client,
      tableName: 'export_history',
      modifiedField: 'updated_at',
      live: false,
      // As many as the server gives out at once: with more, a short page would pass for the last one.
      pull: { batchSize: 1000 },
    })
    await replication.awaitInitialReplication()
    const elapsed = performance.now() - start
    return { elapsed, rows: await database.exports.count().exec(), asked: rows }
  },
})
window.ready = true
