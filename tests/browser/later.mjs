// Later versions of the package, as far as an older one notices: made from the same source with one thing changed.

import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle } from '../../wasm/bundle.mjs'

const dist = fileURLToPath(new URL('../../wasm/dist', import.meta.url))

/** One whose mirror has a newer schema. Notes in `made` the folder that is to be removed. */
export function nextMirror(made) {
  return later(made, 'candidate.ts', /MareaEngine\.mirrorVersion\(\)/, '$& + 1')
}

/** One whose tabs speak otherwise. */
export function nextProtocol(made) {
  return later(made, 'protocol.ts', /(TAB_PROTOCOL *= *)1/, (_, name) => `${name}2`)
}

async function later(made, file, from, to) {
  const folder = mkdtempSync(join(tmpdir(), 'marea-next-'))
  made.push(folder)
  cpSync(dist, folder, { recursive: true })
  let changed = false
  const change = {
    name: 'change',
    setup({ onLoad }) {
      onLoad({ filter: /\/js\/[a-z]+\.ts$/ }, ({ path }) => {
        if (basename(path) !== file) return null
        const text = readFileSync(path, 'utf8')
        changed = from.test(text)
        return { contents: text.replace(from, to), loader: 'ts' }
      })
    },
  }
  await bundle(folder, [change])
  assert.ok(changed, file)
  return folder
}
