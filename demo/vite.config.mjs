import react from '@vitejs/plugin-react'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'
import { serviceWorker } from './build/service-worker.mjs'

export default defineConfig({
  plugins: [react(), serviceWorker(fileURLToPath(new URL('src/sw.js', import.meta.url)))],
  // Pictures are files of their own: they are kept by their names, and not sent again with each change of the script.
  build: { target: 'es2022', emptyOutDir: true, assetsInlineLimit: 0 },
})
