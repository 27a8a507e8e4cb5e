// Rollup follows no `new URL(..., import.meta.url)`: the worker is an entry of its own, and the module is copied beside it.

import { nodeResolve } from '@rollup/plugin-node-resolve'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export default {
  input: { app: 'src/main.js', worker: '@marea/client/worker' },
  output: { dir: 'dist/rollup', format: 'es' },
  plugins: [
    nodeResolve(),
    {
      name: 'marea-module',
      generateBundle() {
        const source = readFileSync(fileURLToPath(import.meta.resolve('@marea/client/marea_wasm_bg.wasm')))
        this.emitFile({ type: 'asset', fileName: 'marea_wasm_bg.wasm', source })
      },
    },
  ],
}
