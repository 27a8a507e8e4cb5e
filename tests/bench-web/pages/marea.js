// Marea, as built. Durable when it says so: SQLite on the SAH pool, `synchronous = FULL`.

import { open } from '@marea/client'
import { measured } from './measure.js'

let marea

window.bench = measured({
  async open({ url, anonKey, userId, token, online }) {
    marea = await open({ url, anonKey, userId, getAccessToken: () => token, online })
  },
  write: () =>
    marea.recordSession({ session_type: 'qa', duration_minutes: 5, qa_attempts: 10, qa_correct: 8 }),
  async read() {
    return (await marea.progress()).total_sessions
  },
  leads: () => marea.leads,
  /** Opens the network and waits until `rows` exports, or rows of a mirrored table, are there and everything is at rest. */
  async pull(rows, table) {
    const start = performance.now()
    let synced
    const done = new Promise((resolve) => (synced = resolve))
    await marea.setOnline(true)
    const stop = marea.watchStatus((status) => status.last_synced_at && !status.syncing && synced())
    await done
    stop()
    const elapsed = performance.now() - start
    if (table) return { elapsed, rows: await marea.table(table).count(), asked: rows }
    let [count, after] = [0, undefined]
    do {
      const page = await marea.exports({ limit: 500, ...(after && { after }) })
      count += page.exports.length
      after = page.next
    } while (after)
    return { elapsed, rows: count, asked: rows }
  },
  /** Milliseconds of each of `count` pages of 50 rows by an index, sorted. */
  async lists(table, count) {
    const times = []
    for (let read = 0; read < count; read++) {
      const where = { due_on: { gte: `2026-12-${String(1 + (read % 28)).padStart(2, '0')}` } }
      const start = performance.now()
      const page = await marea.table(table).list({ where, order: ['due_on'], limit: 50 })
      times.push(performance.now() - start)
      if (page.length !== 50) throw new Error(`a page of ${page.length}`)
    }
    return times.sort((one, other) => one - other)
  },
})
window.ready = true
