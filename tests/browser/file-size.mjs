// What files of exports add to the browser's download: the built module and the bundled JavaScript, with what only files call and without,
// each gzipped. Printed, and not asserted. Not part of the tests; by hand, after `cargo xtask package`: node tests/browser/file-size.mjs
//
// What the rest of the engine does for files (their table, the change of an export beside them) stays in both, so it is a little more.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { bundle } from '../../wasm/bundle.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const pkg = join(root, 'wasm', 'pkg')
/** The module's exports that files alone call. */
const CALLS = ['fileName', 'filesFolder', 'keepFile', 'files', 'changeFile', 'fileSource', 'sweepFiles', 'authorization', 'nextTransfer', 'nextTransferWake', 'applyTransfer', 'failTransfer']
const EXPORTS = [...CALLS.map((name) => `mareaengine_${name}`), 'blockhash_finish', 'blockhash_new', 'blockhash_update', '__wbg_blockhash_free']
const MODULES = /\/wasm\/js\/(transfers|file-calls|file-input|files)\.ts$/
const FEATURES = ['bulk-memory', 'nontrapping-float-to-int', 'sign-ext', 'mutable-globals', 'reference-types', 'multivalue'].map((name) => `--enable-${name}`)

const folder = mkdtempSync(join(tmpdir(), 'marea-size-'))
const zipped = (path) => gzipSync(readFileSync(path), { level: 9 }).length

/** The module's size with these of its exports, and all that they need. */
function moduleSize(keeps) {
  const exports = Object.entries(JSON.parse(readFileSync(join(pkg, 'exports.json'), 'utf8')))
  const [graph, module] = ['graph.json', 'module.wasm'].map((name) => join(folder, name))
  const node = ([name, short]) => ({ name, export: short })
  const reaches = exports.map(([name]) => name).filter(keeps)
  writeFileSync(graph, JSON.stringify([{ name: 'outside', root: true, reaches }, ...exports.map(node)]))
  // It takes away what cannot be reached, and leaves the rest as it is, in its order.
  const words = [join(pkg, 'marea_wasm_bg.wasm'), `--graph-file=${graph}`, '-o', module, ...FEATURES]
  execFileSync(join(root, 'node_modules', '.bin', 'wasm-metadce'), words, { stdio: ['ignore', 'ignore', 'inherit'] })
  return zipped(module)
}

/** Each of the modules with its exports, and nothing in them. */
const stubs = {
  name: 'stubs',
  setup({ onLoad }) {
    onLoad({ filter: MODULES }, ({ path }) => {
      const names = [...readFileSync(path, 'utf8').matchAll(/^export (?:async )?(?:function|const|class) (\w+)/gm)].map(([, name]) => name)
      return { contents: names.map((name) => `export const ${name} = null`).join('\n'), loader: 'ts' }
    })
    onLoad({ filter: /\/marea_wasm\.js$/ }, ({ path }) => {
      const calls = new RegExp(`^    (?:${CALLS.join('|')})\\([^)]*\\) \\{\\n[\\s\\S]*?^    \\}\\n`, 'gm')
      const hash = /^export class BlockHash \{\n[\s\S]*?^\}\n/m
      return { contents: readFileSync(path, 'utf8').replace(calls, '').replace(hash, 'export const BlockHash = null\n') }
    })
  },
}

async function scriptSize(plugins) {
  await bundle(folder, plugins)
  return ['index.js', 'worker.js'].map((name) => zipped(join(folder, name))).reduce((sum, size) => sum + size)
}

try {
  const found = [
    ['module', moduleSize(() => true), moduleSize((name) => !EXPORTS.includes(name))],
    ['JavaScript', await scriptSize([]), await scriptSize([stubs])],
  ]
  for (const [name, whole, without] of found) console.log(`${name}: ${whole} bytes gzipped, ${without} without files: ${whole - without}`)
  console.log(`files add ${found.reduce((sum, [, whole, without]) => sum + whole - without, 0)} bytes gzipped`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
