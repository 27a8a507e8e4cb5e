// Builds the npm package: types and JavaScript from js/, and the generated module from pkg/, side by side in dist/.
//
// Few files, because each that is served as it is costs a round trip: index.js for the page, worker.js, the module; and one
// each for what an app may use beside (react/, supabase.js), which take what they share from index.js.
//
// It does not make pkg/: `cargo xtask wasm` does, because that needs Rust.

import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle } from './bundle.mjs'
import { writeDocuments } from './documents.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const [pkg, dist] = ['pkg', 'dist'].map((folder) => join(here, folder))
const migrations = join(here, '..', 'migrations')
const generated = ['marea_wasm.js', 'marea_wasm.d.ts', 'marea_wasm_bg.wasm']

for (const name of generated) {
  if (!existsSync(join(pkg, name))) {
    console.error(`wasm/pkg/${name} is missing. Run \`cargo xtask wasm\` first.`)
    process.exit(1)
  }
}

const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'))
rmSync(dist, { recursive: true, force: true })
try {
  const tsc = join(typescript, 'bin', 'tsc')
  execFileSync(process.execPath, [tsc, '-p', here, '--emitDeclarationOnly'], { stdio: 'inherit' })
} catch {
  // tsc has said what is wrong.
  process.exit(1)
}
for (const name of generated.slice(1)) cpSync(join(pkg, name), join(dist, name))
// For `npx marea-client init`: what is there, and how it is taken back.
for (const name of readdirSync(migrations).filter((name) => name.endsWith('.sql'))) cpSync(join(migrations, name), join(dist, 'sql', name))

// The generated classes can be disposed of, which is a type error in every app whose `lib` is older than that.
const types = join(dist, 'marea_wasm.d.ts')
const declared = readFileSync(types, 'utf8').replace(/^.*\[Symbol\.dispose].*\n/gm, '')
// What the module exports is the package's own business, and goes by other names (xtask/src/wasm/names.rs).
writeFileSync(types, declared.replace(/(export interface InitOutput \{)[^}]*/, '$1'))

await bundle(dist)
writeDocuments(join(here, '..'), dist)
for (const name of ['LICENSE-APACHE', 'LICENSE-MIT']) cpSync(join(here, '..', name), join(dist, name))
