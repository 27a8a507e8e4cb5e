// The tables of two apps on a real backend, and the catalogue of them as `npx marea-client schema` writes it.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { load, openMarea, startStage } from './harness.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** A stage whose database has the tables of `tests/fixtures/words.sql` and `inventory.sql`. */
export async function startTables(mounts) {
  const stage = await startStage(mounts)
  for (const name of ['words', 'inventory']) await stage.database.query(readFileSync(`${root}tests/fixtures/${name}.sql`, 'utf8'))
  return { ...stage, schema: () => schemaOf(stage) }
}

/** The catalogue that the server has now, by the command that an app's author runs. */
export function schemaOf({ backend }) {
  const folder = mkdtempSync(join(tmpdir(), 'marea-schema-'))
  try {
    const file = join(folder, 'marea.schema.json')
    const program = `${root}wasm/cli/marea-client.mjs`
    execFileSync(process.execPath, [program, 'schema', '--url', backend.url, '--key', backend.anon_key, '--out', file])
    return JSON.parse(readFileSync(file, 'utf8'))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A tab of this browser with the learner's mirror open. */
export async function openTab(t, browser, stage, learner, options) {
  const page = await browser.newPage(t)
  if (options?.version) await load(page, stage, options.version)
  await openMarea(page, stage, learner, options)
  return page
}

/** Calls something of `marea.table(name)` in the page. */
export const table = (page, name, call, ...args) =>
  page.evaluate(([name, call, args]) => window.marea.table(name)[call](...args), [name, call, args])

export const query = (page, sql, parameters = []) =>
  page.evaluate(([sql, parameters]) => window.marea.query(sql, parameters), [sql, parameters])

/** How a call in the page failed, as an app would branch on it; null when it did not. */
export const failureOf = (page, code, ...args) =>
  page.evaluate(([code, args]) => window.failureOf(() => new Function('marea', ...args.map((_, index) => `$${index}`), `return ${code}`)(window.marea, ...args)), [code, args])
