// What each store makes a browser download: its page's script, its worker's, its module.

import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

// Of PowerSync's worker, which is served as it comes: the parts that this file system makes it load.
const POWERSYNC = /^(worker|OPFSCoopSync.*|FacadeVFS.*|mc-wa-sqlite-(?!async).*)\.js$|mc-wa-sqlite(?!-async).*\.wasm$/

export function downloads(dist, { outputs }) {
  /** A script and all that it imports at once. */
  const withImports = (name, found = new Set()) => {
    found.add(name)
    for (const { path, kind } of outputs[name].imports) {
      if (kind === 'import-statement' && !found.has(path)) withImports(path, found)
    }
    return found
  }
  const scripts = (...names) => [...new Set(names.flatMap((name) => [...withImports(name)]))]
  const shipped = readdirSync(join(dist, 'powersync'), { recursive: true }).filter((name) => POWERSYNC.test(name.split('/').at(-1)))
  const sets = {
    marea: [...scripts('marea.js', 'worker.js'), 'marea_wasm_bg.wasm'],
    sqlite: [...scripts('sqlite.js', 'sqlite-worker.js'), 'sqlite3.wasm'],
    powersync: [...scripts('powersync.js'), ...shipped.map((name) => `powersync/${name}`)],
    rxdb: scripts('rxdb.js'),
    legend: scripts('legend.js'),
  }
  const weigh = (files) => {
    const bytes = files.map((name) => readFileSync(join(dist, name)))
    const raw = bytes.reduce((sum, file) => sum + file.length, 0)
    const gzip = bytes.reduce((sum, file) => sum + gzipSync(file, { level: 9 }).length, 0)
    return { raw, gzip, files }
  }
  return Object.fromEntries(Object.entries(sets).map(([store, files]) => [store, weigh(files)]))
}
