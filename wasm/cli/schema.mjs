// `marea-client schema`: the server's catalogue, written as a file or compared with one.

import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { differences } from './compare.mjs'
import { Failure } from './failure.mjs'
import { fetchCatalogue } from './fetch.mjs'
import { documentIn, renderJson, renderTypeScript } from './render.mjs'

export async function runSchema({ url, key, allowHttp, out, check, say }) {
  if (!/\.(json|ts|mts)$/.test(out)) throw new Failure(2, `--out ${out}: expected a name that ends in .ts or .json`)
  const catalogue = await fetchCatalogue(url, key, allowHttp)
  const text = out.endsWith('.json') ? renderJson(catalogue) : renderTypeScript(catalogue)
  const before = read(out)
  if (check) return compare(out, before, text, catalogue, say)
  const count = catalogue.tables.length
  const tables = count === 1 ? '1 table' : `${count} tables`
  if (before === text) return say(`${out} is up to date (${tables})`)
  write(out, text)
  say(`${out} is written (${tables})`)
  if (count === 0) say("No table is mirrored yet. In the database: SELECT marea.mirror('public.your_table');")
}

function compare(out, before, text, catalogue, say) {
  const again = 'Write it again: npx marea-client schema'
  if (before === null) throw new Failure(1, `${out} does not exist. ${again}`)
  if (before === text) return say(`${out} is up to date`)
  const known = documentIn(before)
  const found = known === null ? [] : differences(known, catalogue)
  const lines = found.length > 0 ? found : ['the same tables, but the file was edited, or written by another version']
  throw new Failure(1, `${out} differs from the server:\n${lines.map((line) => `  ${line}`).join('\n')}\n${again}`)
}

/** The file's text with the line ends that are written here, whatever git made of them; null where there is none. */
function read(path) {
  try {
    return readFileSync(path, 'utf8').replaceAll('\r\n', '\n')
  } catch (error) {
    if (error.code === 'ENOENT') return null
    throw new Failure(1, `${path} cannot be read (${error.code})`)
  }
}

/** Whole or not at all: a build that runs beside this never reads half of it. */
function write(path, text) {
  const unfinished = `${path}.${process.pid}.tmp`
  try {
    writeFileSync(unfinished, text)
    renameSync(unfinished, path)
  } catch (error) {
    rmSync(unfinished, { force: true })
    throw new Failure(1, `${path} cannot be written (${error.code})`)
  }
}
