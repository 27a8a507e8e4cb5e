import sqlite3InitModule from '@sqlite.org/sqlite-wasm'

let database

const methods = {
  async open(name) {
    const sqlite3 = await sqlite3InitModule({ locateFile: (file) => `/${file}` })
    const pool = await sqlite3.installOpfsSAHPoolVfs({ name: `bare-${name}`, directory: `.bare/${name}` })
    database = new pool.OpfsSAHPoolDb('/bare.db')
    database.exec(`PRAGMA synchronous = FULL;
      CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, session TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS totals (id INTEGER PRIMARY KEY, sessions INTEGER, minutes INTEGER);
      INSERT OR IGNORE INTO totals VALUES (1, 0, 0)`)
    methods.insert = database.prepare('INSERT INTO sessions VALUES (?, ?)')
    methods.add = database.prepare('UPDATE totals SET sessions = sessions + 1, minutes = minutes + ?')
  },
  write(session) {
    database.exec('BEGIN IMMEDIATE')
    methods.insert.bind([session.id, JSON.stringify(session)]).stepReset()
    methods.add.bind([session.duration_minutes]).stepReset()
    database.exec('COMMIT')
  },
  read: () => database.selectValue('SELECT sessions FROM totals'),
}

onmessage = async ({ data: { id, method, value } }) => {
  try {
    postMessage({ id, result: await methods[method](value) })
  } catch (error) {
    postMessage({ id, error: String(error) })
  }
}
