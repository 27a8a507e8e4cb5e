// TanStack DB with `@tanstack/offline-transactions` as a device, as its documents show: each write is a transaction of the outbox, whose
// function sends it to PostgREST; what the server refuses for good is a `NonRetriableError`. Rows are read again after each sync.

import { createCollection } from '@tanstack/db'
import { NonRetriableError, startOfflineExecutor } from '@tanstack/offline-transactions'

const PATIENCE_MS = 8_000
const TABLE = '/rest/v1/peer_words'
let collection, executor, options, read

const soon = (promise) => Promise.race([promise, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))])

async function call(path, method = 'GET', body, prefer = 'return=minimal') {
  const headers = { apikey: options.anonKey, authorization: `Bearer ${options.token}`, 'content-type': 'application/json', prefer }
  const answer = await fetch(`${options.url}${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) })
  if (answer.status >= 400 && answer.status < 500) throw new NonRetriableError(`HTTP ${answer.status}`)
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`)
  return method === 'GET' ? answer.json() : null
}

async function send({ transaction, idempotencyKey }) {
  for (const { type, key, modified, changes } of transaction.mutations) {
    if (type === 'insert') await call(TABLE, 'POST', modified)
    else await call(`${TABLE}?id=eq.${key}`, 'PATCH', changes)
  }
  void idempotencyKey // PostgREST knows of none.
}

window.device = {
  async open(asked) {
    options = asked
    collection = createCollection({
      id: 'words',
      getKey: (row) => row.id,
      sync: {
        sync({ begin, write, commit, markReady }) {
          const known = new Set()
          read = async () => {
            const rows = []
            for (let page; page?.length !== 0; rows.push(...page)) {
              // PostgREST hands out at most a thousand at a time.
              page = await call(`${TABLE}?select=id,user_id,words&order=id&offset=${rows.length}`)
            }
            begin()
            for (const row of rows) {
              write({ type: known.has(row.id) ? 'update' : 'insert', value: row })
              known.add(row.id)
            }
            commit()
          }
          markReady()
        },
      },
    })
    collection.startSyncImmediate()
    executor = startOfflineExecutor({ collections: { words: collection }, mutationFns: { send } })
    await soon(executor.waitForInit?.())
  },
  async add(words) {
    const transaction = executor.createOfflineTransaction({ mutationFnName: 'send', autoCommit: false })
    transaction.mutate(() => collection.insert({ id: crypto.randomUUID(), user_id: options.userId, words }))
    // Offline it waits for the network: what is durable is so after the outbox has it, for which it offers nothing to wait for.
    await Promise.race([transaction.commit().catch(() => undefined), new Promise((resolve) => setTimeout(resolve, 500))])
  },
  poison: () => window.device.add(-1),
  async count(words) {
    const transaction = executor.createOfflineTransaction({ mutationFnName: 'send', autoCommit: false })
    transaction.mutate(() => collection.update(`counter-${options.userId}`, (row) => void (row.words += words)))
    await Promise.race([transaction.commit().catch(() => undefined), new Promise((resolve) => setTimeout(resolve, 500))])
  },
  async sync() {
    const emptied = (async () => {
      while ((await executor.peekOutbox()).length > 0) await new Promise((resolve) => setTimeout(resolve, 100))
    })()
    await soon(emptied)
    await soon(read().catch(() => undefined))
  },
  total: async () => collection.toArray.reduce((sum, row) => sum + row.words, 0),
}
window.ready = true
