// Legend-State with its Supabase plugin, kept in IndexedDB as its documents show. It reads a table with one select.

import { observable, syncState, when } from '@legendapp/state'
import { observablePersistIndexedDB } from '@legendapp/state/persist-plugins/indexeddb'
import { syncedSupabase } from '@legendapp/state/sync-plugins/supabase'
import { createClient } from '@supabase/supabase-js'
import { measured } from './measure.js'

let options

window.bench = measured({
  async open(asked) {
    options = asked
  },
  async pull(rows) {
    const start = performance.now()
    const supabase = createClient(options.url, options.anonKey, { accessToken: async () => options.token })
    const plugin = observablePersistIndexedDB({ databaseName: `legend-${options.userId}`, version: 1, tableNames: ['exports'] })
    const exports = observable(
      syncedSupabase({
        supabase,
        collection: 'export_history',
        actions: ['read'],
        changesSince: 'last-sync',
        fieldUpdatedAt: 'updated_at',
        fieldCreatedAt: 'created_at',
        persist: { name: 'exports', plugin },
      }),
    )
    exports.get()
    await when(syncState(exports).isLoaded)
    return { elapsed: performance.now() - start, rows: Object.keys(exports.get() ?? {}).length, asked: rows }
  },
})
window.ready = true
