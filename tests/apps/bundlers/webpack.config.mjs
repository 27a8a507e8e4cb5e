// webpack needs no setting for Marea; Rspack reads the same file.

import { fileURLToPath } from 'node:url'

export default (env) => ({
  mode: 'production',
  entry: './src/main.js',
  output: { path: fileURLToPath(new URL(`dist/${env.out}`, import.meta.url)), filename: 'app.js' },
})
