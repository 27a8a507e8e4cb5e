// Builds the npm package: types and JavaScript from js/, and the generated module from pkg/, side by side in dist/.
//
// Few files, because each that is served as it is costs a round trip: index.js for the page, worker.js, the module; and one
// each for what an app may use beside (react/, supabase.js), which take what they share from index.js. Comments and blanks
// are taken out, because a learner would download them; names stay.
//
// It does not make pkg/: `cargo xtask wasm` does, because that needs Rust.

import { build } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const [js, pkg, dist] = ['js', 'pkg', 'dist'].map((folder) => join(here, folder))
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

// The generated classes can be disposed of, which is a type error in every app whose `lib` is older than that.
const types = join(dist, 'marea_wasm.d.ts')
writeFileSync(types, readFileSync(types, 'utf8').replace(/^.*\[Symbol\.dispose].*\n/gm, ''))

/** The generated JavaScript lies beside ours in the package, and in pkg/ while that is built. */
const glue = {
  name: 'glue',
  setup({ onResolve }) {
    onResolve({ filter: /\/marea_wasm\.js$/ }, () => ({ path: join(pkg, 'marea_wasm.js') }))
  },
}

/** What other entries share with the page's is not in their files. */
const sharing = (path) => ({
  name: 'sharing',
  setup({ onResolve }) {
    onResolve({ filter: /\/(connection|errors)\.js$/ }, () => ({ path, external: true }))
  },
})

/** A worker, and what the page may need of it later, is not in the page's file. */
const apart = {
  name: 'apart',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/worker\.js$/ }, ({ path, kind }) => (kind === 'dynamic-import' ? { path, external: true } : null))
  },
}

const bundle = (entry, out, plugins) =>
  build({
    entryPoints: [join(js, entry)],
    outfile: join(dist, out),
    bundle: true,
    packages: 'external',
    format: 'esm',
    target: 'es2022',
    // An URL in a `new URL(..., import.meta.url)` is what bundlers look for: taking out blanks leaves it as it is.
    minifyWhitespace: true,
    logLevel: 'warning',
    define: { MODULE_BYTES: String(statSync(join(pkg, 'marea_wasm_bg.wasm')).size) },
    plugins,
  })

await Promise.all([
  bundle('package.ts', 'index.js', [apart]),
  bundle('worker.ts', 'worker.js', [glue]),
  bundle('react/index.ts', 'react/index.js', [sharing('../index.js')]),
  bundle('supabase.ts', 'supabase.js', [sharing('./index.js')]),
])
