// Later versions of the package, as far as an older one notices: the built one with one thing changed.

import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const dist = fileURLToPath(new URL('../../wasm/dist', import.meta.url))

/** One whose mirror has a newer schema. Notes in `made` the folder that is to be removed. */
export function nextMirror(made) {
  return later(made, ['worker.js'], /MareaEngine\.mirrorVersion\(\)/, '$& + 1')
}

/** One whose tabs speak otherwise. */
export function nextProtocol(made) {
  return later(made, ['index.js', 'worker.js'], /(TAB_PROTOCOL *= *)1/, (_, name) => `${name}2`)
}

function later(made, files, from, to) {
  const folder = mkdtempSync(join(tmpdir(), 'marea-next-'))
  made.push(folder)
  cpSync(dist, folder, { recursive: true })
  for (const file of files) {
    const text = readFileSync(join(folder, file), 'utf8')
    assert.match(text, from, file)
    writeFileSync(join(folder, file), text.replace(from, to))
  }
  return folder
}
