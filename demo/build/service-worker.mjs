// A Vite plugin: writes dist/sw.js from src/sw.js, with the list of what was built.
//
// The list's own hash names the cache, so that a new build is a new cache, and the same build changes nothing.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'

export function serviceWorker(source) {
  let out
  return {
    name: 'marea-service-worker',
    apply: 'build',
    configResolved(config) {
      out = config.build.outDir.startsWith('/') ? config.build.outDir : join(config.root, config.build.outDir)
    },
    closeBundle() {
      const files = readdirSync(out, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && entry.name !== 'sw.js')
        .map((entry) => join(entry.parentPath, entry.name))
        .sort()
      const hash = createHash('sha256')
      for (const file of files) hash.update(file).update(readFileSync(file))
      const paths = files.map((file) => '/' + relative(out, file).split(sep).join('/'))
      const script = readFileSync(source, 'utf8')
        .replace('__CACHE_NAME__', `marea-demo-${hash.digest('hex').slice(0, 12)}`)
        .replace("['__PRECACHE__']", JSON.stringify(paths))
      writeFileSync(join(out, 'sw.js'), script)
    },
  }
}
