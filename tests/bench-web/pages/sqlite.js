// Bare SQLite (sqlite.org's build) on the same SAH pool in a worker of its own: one message, one transaction, one answer.
// A session is one row, and the totals are one row that the same transaction changes. `synchronous = FULL`.

import { measured, session } from './measure.js'

const worker = new Worker('/sqlite-worker.js', { type: 'module' })
const waiting = new Map()
let last = 0
worker.onmessage = ({ data }) => {
  waiting.get(data.id)(data)
  waiting.delete(data.id)
}
const call = (method, value) =>
  new Promise((resolve, reject) => {
    const id = ++last
    waiting.set(id, ({ result, error }) => (error ? reject(new Error(error)) : resolve(result)))
    worker.postMessage({ id, method, value })
  })

window.bench = measured({
  open: ({ userId }) => call('open', userId),
  write: () => call('write', session()),
  read: () => call('read'),
})
window.ready = true
