// Other versions of the package, as far as this one notices: made from the same source with one thing changed.

import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle } from '../../wasm/bundle.mjs'

const dist = fileURLToPath(new URL('../../wasm/dist', import.meta.url))

/** One whose mirror has a newer schema. Notes in `made` the folder that is to be removed. */
export function nextMirror(made) {
  return other(made, { 'candidate.ts': [/MareaEngine\.mirrorVersion\(\)/, '$& + 1'] })
}

/** One whose tabs speak otherwise. */
export function nextProtocol(made) {
  return other(made, { 'protocol.ts': [/(TAB_PROTOCOL *= *)1/, (_, name) => `${name}2`] })
}

/** One from before there were calls for mirrored tables. */
export function beforeTables(made) {
  return other(made, {
    'candidate.ts': [/MareaEngine\.mirrorVersion\(\)/, '$& - 1'],
    'protocol.ts': [/(TAB_CALLS *= *)\d+/, (_, name) => `${name}1`],
  })
}

async function other(made, changes) {
  const folder = mkdtempSync(join(tmpdir(), 'marea-next-'))
  made.push(folder)
  cpSync(dist, folder, { recursive: true })
  const changed = new Set()
  const change = {
    name: 'change',
    setup({ onLoad }) {
      onLoad({ filter: /\/js\/[a-z]+\.ts$/ }, ({ path }) => {
        const [from, to] = changes[basename(path)] ?? []
        if (!from) return null
        const text = readFileSync(path, 'utf8')
        if (from.test(text)) changed.add(basename(path))
        return { contents: text.replace(from, to), loader: 'ts' }
      })
    },
  }
  await bundle(folder, [change])
  assert.deepEqual([...changed].sort(), Object.keys(changes).sort())
  return folder
}
