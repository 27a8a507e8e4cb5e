// The package's JavaScript, from js/ and the generated pkg/: few files, and short ones, because a learner downloads them. Names are
// shortened too; a source map beside each file, which only a debugger asks for, has the long ones.

import { build } from 'esbuild'
import { statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const [js, pkg] = ['js', 'pkg'].map((folder) => join(here, folder))

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

/** Writes the files. Plugins are for those who want another package than this one: the tests. */
export async function bundle(dist, plugins = []) {
  const file = (entry, out, ours) =>
    build({
      entryPoints: [join(js, entry)],
      outfile: join(dist, out),
      bundle: true,
      packages: 'external',
      format: 'esm',
      target: 'es2022',
      // An URL in a `new URL(..., import.meta.url)` is what bundlers look for: this leaves it as it is, shorter syntax would not.
      minifyWhitespace: true,
      minifyIdentifiers: true,
      sourcemap: 'linked',
      logLevel: 'warning',
      define: { MODULE_BYTES: String(statSync(join(pkg, 'marea_wasm_bg.wasm')).size) },
      plugins: [...plugins, ...ours],
    })
  await Promise.all([
    file('package.ts', 'index.js', [apart]),
    file('worker.ts', 'worker.js', [glue]),
    file('react/index.ts', 'react/index.js', [sharing('../index.js')]),
    file('supabase.ts', 'supabase.js', [sharing('./index.js')]),
    file('devtools/index.ts', 'devtools.js', []),
    file('vite.ts', 'vite.js', []),
  ])
}
