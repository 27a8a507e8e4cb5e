// Builds the npm package: TypeScript from js/, and the generated wasm from pkg/, side by side in dist/. Comments and blanks
// are taken out of the JavaScript, because files that are served as they are would carry them to every learner; names stay.
//
// It does not make pkg/: `cargo xtask wasm` does, because that needs Rust.

import { transformSync } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const generated = ['marea_wasm.js', 'marea_wasm.d.ts', 'marea_wasm_bg.wasm']

for (const name of generated) {
  if (!existsSync(join(here, 'pkg', name))) {
    console.error(`wasm/pkg/${name} is missing. Run \`cargo xtask wasm\` first.`)
    process.exit(1)
  }
}

const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'))
rmSync(join(here, 'dist'), { recursive: true, force: true })
try {
  execFileSync(process.execPath, [join(typescript, 'bin', 'tsc'), '-p', here], { stdio: 'inherit' })
} catch {
  // tsc has said what is wrong.
  process.exit(1)
}
for (const name of generated) cpSync(join(here, 'pkg', name), join(here, 'dist', name))

// The generated classes can be disposed of, which is a type error in every app whose `lib` is older than that.
const types = join(here, 'dist', 'marea_wasm.d.ts')
writeFileSync(types, readFileSync(types, 'utf8').replace(/^.*\[Symbol\.dispose\].*\n/gm, ''))

for (const name of readdirSync(join(here, 'dist'), { recursive: true })) {
  if (!name.endsWith('.js')) continue
  const file = join(here, 'dist', name)
  // An URL in a `new URL(..., import.meta.url)` is what bundlers look for: the transformation leaves it as it is.
  const { code } = transformSync(readFileSync(file, 'utf8'), { format: 'esm', target: 'es2022', minifyWhitespace: true })
  writeFileSync(file, code)
}
