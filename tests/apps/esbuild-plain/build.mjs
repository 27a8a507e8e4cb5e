// esbuild does not follow `new Worker(new URL(...))`: the worker is an entry point of its own, and the module is copied
// beside it. Both are looked for next to the file that opens Marea.

import { build } from 'esbuild'
import { copyFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

await build({
  entryPoints: { app: 'src/main.ts', worker: '@marea/client/worker' },
  outdir: 'dist',
  bundle: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
})
copyFileSync('index.html', 'dist/index.html')
copyFileSync(fileURLToPath(import.meta.resolve('@marea/client/marea_wasm_bg.wasm')), 'dist/marea_wasm_bg.wasm')
