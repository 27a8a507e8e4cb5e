// PowerSync on OPFSCoopSyncVFS, as its documents recommend for durability across tabs, with the worker it ships. No server is connected:
// what is measured is the local write with its upload queue.

import { column, Schema, Table } from '@powersync/common'
import { PowerSyncDatabase, WASQLiteVFS } from '@powersync/web'
import { measured, session } from './measure.js'

const sessions = new Table({
  session_type: column.text,
  ended_at: column.text,
  duration_minutes: column.integer,
  qa_attempts: column.integer,
  qa_correct: column.integer,
})
let database

window.bench = measured({
  async open({ userId }) {
    const worker = () => new Worker('/powersync/worker.js', { type: 'module' })
    const options = { dbFilename: `${userId}.db`, vfs: WASQLiteVFS.OPFSCoopSyncVFS, worker }
    database = new PowerSyncDatabase({ schema: new Schema({ sessions }), database: options })
    await database.init()
  },
  async write() {
    const { id, session_type, ended_at, duration_minutes, qa_attempts, qa_correct } = session()
    const values = [id, session_type, ended_at, duration_minutes, qa_attempts, qa_correct]
    await database.execute(
      'INSERT INTO sessions (id, session_type, ended_at, duration_minutes, qa_attempts, qa_correct) VALUES (?, ?, ?, ?, ?, ?)',
      values,
    )
  },
  async read() {
    return (await database.get('SELECT count(*) AS count, sum(duration_minutes) FROM sessions')).count
  },
})
window.ready = true
