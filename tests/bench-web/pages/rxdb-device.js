// RxDB as a device, with its Supabase replication. Words learnt are rows of a table in the shape that its documents ask for
// (`_modified`, `_deleted`); a counter that devices share is one row, which `add` changes as its documents show.

import { createClient } from '@supabase/supabase-js'
import { createRxDatabase } from 'rxdb/plugins/core'
import { replicateSupabase } from 'rxdb/plugins/replication-supabase'
import { getRxStorageDexie } from 'rxdb/plugins/storage-dexie'

const schema = {
  version: 0,
  primaryKey: 'id',
  type: 'object',
  properties: { id: { type: 'string', maxLength: 100 }, user_id: { type: 'string' }, words: { type: 'number' } },
}
// It tries for as long as the page lives; a device that has not managed by now is one that waits.
const PATIENCE_MS = 8_000
const soon = (promise) => Promise.race([promise, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))])
let database, options

window.device = {
  async open(asked) {
    options = asked
    database = await createRxDatabase({ name: `rx-${asked.userId}`, storage: getRxStorageDexie(), multiInstance: true })
    await database.addCollections({ words: { schema } })
  },
  add: (words) => database.words.insert({ id: crypto.randomUUID(), user_id: options.userId, words }).then(() => undefined),
  poison: () => window.device.add(-1),
  async count(words) {
    const counter = await database.words.findOne(`counter-${options.userId}`).exec()
    await counter.incrementalModify((row) => ({ ...row, words: row.words + words }))
  },
  async sync() {
    const client = createClient(options.url, options.anonKey, { accessToken: async () => options.token })
    const replication = replicateSupabase({
      replicationIdentifier: 'words',
      collection: database.words,
      client,
      tableName: 'peer_words',
      live: false,
      retryTime: 500,
      waitForLeadership: false,
      pull: { batchSize: 1000 },
      push: { batchSize: 100 },
    })
    await soon(replication.awaitInitialReplication())
    // It waits for the push that is being tried again; where that never succeeds, so does this.
    await soon(replication.cancel())
  },
  async total() {
    const rows = await database.words.find().exec()
    return rows.reduce((sum, row) => sum + row.words, 0)
  },
}
window.ready = true
