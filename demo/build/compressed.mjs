// A Vite plugin: writes each built file a second time, compressed, for a server that sends it so.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { brotliCompressSync, constants } from 'node:zlib'

const ENDINGS = ['.css', '.html', '.js', '.svg', '.wasm', '.webmanifest']
// The last two steps cost seconds, and win a hundredth.
const OPTIONS = { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }

export function compressed() {
  let out
  return {
    name: 'marea-compressed',
    apply: 'build',
    configResolved(config) {
      out = isAbsolute(config.build.outDir) ? config.build.outDir : join(config.root, config.build.outDir)
    },
    closeBundle() {
      for (const entry of readdirSync(out, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !ENDINGS.some((ending) => entry.name.endsWith(ending))) continue
        const file = join(entry.parentPath, entry.name)
        writeFileSync(`${file}.br`, brotliCompressSync(readFileSync(file), OPTIONS))
      }
    },
  }
}
