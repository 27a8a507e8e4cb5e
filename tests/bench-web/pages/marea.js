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
  /** Opens the network and waits until `rows` exports are there and everything is at rest. */
  async pull(rows) {
    const start = performance.now()
    let synced
    const done = new Promise((resolve) => (synced = resolve))
    await marea.setOnline(true)
    const stop = marea.watchStatus((status) => status.last_synced_at && !status.syncing && synced())
    await done
    stop()
    const elapsed = performance.now() - start
    let [count, after] = [0, undefined]
    do {
      const page = await marea.exports({ limit: 500, ...(after && { after }) })
      count += page.exports.length
      after = page.next
    } while (after)
    return { elapsed, rows: count, asked: rows }
  },
})
window.ready = true
