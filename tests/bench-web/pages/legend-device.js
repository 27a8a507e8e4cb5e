// Legend-State as a device, with its Supabase plugin, kept in IndexedDB and retrying for
// ever, as its documents show for offline use.

import { observable, syncState, when } from '@legendapp/state'
import { observablePersistIndexedDB } from '@legendapp/state/persist-plugins/indexeddb'
import { syncedSupabase } from '@legendapp/state/sync-plugins/supabase'
import { createClient } from '@supabase/supabase-js'

const PATIENCE_MS = 8_000
let rows, options

const soon = (promise) => Promise.race([promise, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))])

window.device = {
  async open(asked) {
    options = asked
    // It has no switch for the network: it syncs as it likes, and `sync` waits until it has nothing left to do.
    const supabase = createClient(asked.url, asked.anonKey, { accessToken: async () => asked.token })
    const plugin = observablePersistIndexedDB({ databaseName: `legend-${asked.userId}`, version: 1, tableNames: ['words'] })
    rows = observable(
      syncedSupabase({
        supabase,
        collection: 'peer_words',
        actions: ['read', 'create', 'update'],
        changesSince: 'last-sync',
        fieldCreatedAt: 'created_at',
        fieldUpdatedAt: '_modified',
        persist: { name: 'words', plugin, retrySync: true },
        retry: { infinite: true, delay: 300, maxDelay: 500 },
      }),
    )
    rows.get()
    await when(syncState(rows).isPersistLoaded)
  },
  async add(words) {
    const id = crypto.randomUUID()
    rows[id].set({ id, user_id: options.userId, words })
  },
  poison: () => window.device.add(-1),
  async count(words) {
    rows[`counter-${options.userId}`].words.set((before) => before + words)
  },
  async sync() {
    await soon(when(syncState(rows).isLoaded))
    await soon(syncState(rows).sync())
    await soon(when(() => Object.keys(syncState(rows).getPendingChanges() ?? {}).length === 0))
    await soon(syncState(rows).sync())
  },
  async total() {
    return Object.values(rows.get() ?? {}).reduce((sum, row) => sum + (row?.words ?? 0), 0)
  },
}
window.ready = true
