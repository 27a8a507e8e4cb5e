// The package's JavaScript, from js/ and the generated pkg/: few files, and short ones, because a learner downloads them. Names are
// shortened too; a source map beside each file, which only a debugger asks for, has the long ones.

import { build } from 'esbuild'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const [js, pkg] = ['js', 'pkg'].map((folder) => join(here, folder))

/** What the generator writes for a module that is still to be fetched, or given in older ways; ours is compiled by then. */
const UNUSED = [
  [/(async function __wbg_load\(module, imports\) \{)[^]*?\n\}\n/, '$1 return { instance: await WebAssembly.instantiate(module, imports), module } }\n'],
  [/ else \{\s*console\.warn\('using deprecated parameters for the initialization function[^}]*\}/, ''],
  [/    if \(typeof module_or_path === 'string'[^]*?\n    \}\n/, ''],
]

/** The generated JavaScript lies beside ours in the package, and in pkg/ while that is built. */
const glue = {
  name: 'glue',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /\/marea_wasm\.js$/ }, () => ({ path: join(pkg, 'marea_wasm.js') }))
    onLoad({ filter: /\/marea_wasm\.js$/ }, ({ path }) => {
      const contents = UNUSED.reduce((code, [unused, short]) => {
        if (!unused.test(code)) throw new Error(`marea_wasm.js has nothing like ${unused} any more`)
        return code.replace(unused, short)
      }, readFileSync(path, 'utf8'))
      return { contents }
    })
  },
}

/** What other entries share with the page's is not in their files. */
const sharing = (path) => ({
  name: 'sharing',
  setup({ onResolve }) {
    onResolve({ filter: /\/(connection|errors)\.js$/ }, () => ({ path, external: true }))
  },
})

/** Another entry with code of its own, whose errors are of the same class all the same. */
const oneError = (path) => ({
  name: 'one-error',
  setup({ onResolve }) {
    onResolve({ filter: /\/marea-error\.js$/ }, () => ({ path, external: true }))
  },
})

/** A file of the package that another of its files takes from where it is. */
const beside = (file) => ({
  name: `beside ${file}`,
  setup({ onResolve }) {
    onResolve({ filter: new RegExp(`^${file.replaceAll('.', '\\.')}$`) }, () => ({ path: file, external: true }))
  },
})

/** Another entry meets an open mirror by a name (js/marea.ts), and has none of its code. */
const named = {
  name: 'named',
  setup({ onLoad }) {
    onLoad({ filter: /\/js\/marea\.ts$/ }, () => ({ contents: "export const follow = Symbol.for('@marea/client:follow')", loader: 'ts' }))
  },
}

/** A worker, and what the page may need of it later, is not in the page's file. */
const apart = {
  name: 'apart',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/worker\.js$/ }, ({ path, kind }) => (kind === 'dynamic-import' ? { path, external: true } : null))
  },
}

/** What the page's code for tests finds in the place of a browser's globals: see js/testing/device.ts. */
const SURROUNDINGS = [
  ...['AbortController', 'BroadcastChannel', 'Date', 'Headers', 'MAREA_MODULE', 'MareaError', 'MessageChannel', 'TextDecoder', 'TextEncoder'],
  ...['WebSocket', 'Window', 'clearInterval', 'clearTimeout', 'crypto', 'document', 'fetch', 'global', 'globalThis', 'isSecureContext', 'localStorage'],
  ...['navigator', 'performance', 'queueMicrotask', 'reportError', 'self', 'setInterval', 'setTimeout', 'structuredClone', 'window'],
]

/** For tests: no download, and errors of the class that the package's other entries have. */
const inTests = {
  name: 'in-tests',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^\.\/module\.js$/ }, () => ({ path: join(js, 'testing', 'module.ts') }))
    onLoad({ filter: /marea-error\.ts$/ }, () => ({ contents: 'const given = MareaError; export { given as MareaError }', loader: 'ts' }))
  },
}

/** The page's and the worker's code in one function of what surrounds it. */
async function pageForTests(dist, options) {
  const { outputFiles } = await build({
    ...options,
    entryPoints: [join(js, 'testing', 'inside.ts')],
    format: 'iife',
    globalName: 'page',
    sourcemap: false,
    write: false,
    plugins: [...options.plugins, inTests, glue],
    logOverride: { 'empty-import-meta': 'silent' },
  })
  mkdirSync(join(dist, 'testing'), { recursive: true })
  const code = `export function makePage(surroundings) {\nconst { ${SURROUNDINGS.join(', ')} } = surroundings\n${outputFiles[0].text}return page\n}\n`
  writeFileSync(join(dist, 'testing', 'page.js'), code)
}

/** In Node there is no page that somebody looks at. */
const inNode = {
  name: 'in-node',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/days\.js$/ }, () => ({ path: join(js, 'node', 'days.ts') }))
  },
}

/** How bundlers find the files that the page asks for: each in one expression, which shorter syntax must leave as it is. */
const FOR_BUNDLERS = ['new URL("./marea_wasm_bg.wasm",import.meta.url)', 'new Worker(new URL("./worker.js",import.meta.url),{type:"module",name:"marea"})']

/** Writes the files. Plugins are for those who want another package than this one: the tests. */
export async function bundle(dist, plugins = []) {
  const options = {
    bundle: true,
    packages: 'external',
    format: 'esm',
    target: 'es2022',
    minify: true,
    sourcemap: 'linked',
    logLevel: 'warning',
    define: { MODULE_BYTES: String(statSync(join(pkg, 'marea_wasm_bg.wasm')).size) },
    plugins,
  }
  const file = (entry, out, ours, others = {}) =>
    build({ ...options, ...others, entryPoints: [join(js, entry)], outfile: join(dist, out), plugins: [...plugins, ...ours] })
  const adapter = (entry, out) => file(entry, out, [sharing('./index.js'), named])
  await Promise.all([
    file('package.ts', 'index.js', [apart]),
    file('worker.ts', 'worker.js', [glue]),
    file('react/index.ts', 'react/index.js', [sharing('../index.js')]),
    file('supabase.ts', 'supabase.js', [sharing('./index.js')]),
    file('devtools/index.ts', 'devtools.js', [named]),
    file('vite.ts', 'vite.js', []),
    adapter('tanstack-db/index.ts', 'tanstack-db.js'),
    ...['vue', 'svelte', 'solid', 'kysely', 'opentelemetry'].map((name) => adapter(`${name}.ts`, `${name}.js`)),
    file('testing/index.ts', 'testing/index.js', [sharing('../index.js'), beside('./page.js')]),
    file('testing/react.ts', 'testing/react.js', [sharing('../index.js'), beside('../react/index.js')]),
    pageForTests(dist, options),
    file('writers.ts', 'writers.js', []),
    file('tauri/index.ts', 'tauri.js', [oneError('./index.js')]),
    file('node/index.ts', 'node/index.js', [oneError('../index.js'), inNode], { inject: [join(js, 'node', 'report-error.ts')] }),
  ])
  const page = readFileSync(join(dist, 'index.js'), 'utf8')
  const hidden = FOR_BUNDLERS.find((expression) => !page.includes(expression))
  if (hidden) throw new Error(`index.js has no ${hidden} any more, so that no bundler finds the file`)
}
