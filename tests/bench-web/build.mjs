// The pages: one for each store, bundled as an app would, into target/bench-web/dist.

import { build } from 'esbuild'
import { cpSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const DEVICES = ['marea', 'rxdb', 'legend', 'tanstack'].map((store) => `${store}-device`)
const PAGES = ['marea', 'sqlite', 'powersync', 'rxdb', 'legend', ...DEVICES]

/** `folder` has the peers' packages; `client` is the built npm package of Marea. */
export async function buildPages(folder, client) {
  const dist = join(folder, 'dist')
  rmSync(dist, { recursive: true, force: true })
  mkdirSync(dist, { recursive: true })
  const { metafile } = await build({
    entryPoints: {
      ...Object.fromEntries(PAGES.map((store) => [store, join(folder, 'pages', `${store}.js`)])),
      'sqlite-worker': join(folder, 'pages', 'sqlite-worker.js'),
      worker: join(client, 'worker.js'),
    },
    outdir: dist,
    absWorkingDir: dist,
    bundle: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    minify: true,
    metafile: true,
    alias: { '@marea/client': join(client, 'index.js') },
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'error',
  })
  copyFileSync(join(client, 'marea_wasm_bg.wasm'), join(dist, 'marea_wasm_bg.wasm'))
  const packages = join(folder, 'node_modules')
  copyFileSync(join(packages, '@sqlite.org/sqlite-wasm/dist/sqlite3.wasm'), join(dist, 'sqlite3.wasm'))
  cpSync(join(packages, '@powersync/web/dist/worker'), join(dist, 'powersync'), { recursive: true })
  for (const store of PAGES) {
    writeFileSync(join(dist, `${store}.html`), `<!doctype html><title>${store}</title><script type="module" src="/${store}.js"></script>`)
  }
  return { dist, metafile }
}
