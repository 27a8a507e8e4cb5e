import react from '@vitejs/plugin-react'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'
import { compressed } from './build/compressed.mjs'
import { serviceWorker } from './build/service-worker.mjs'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  // In this order: what is kept for starts without a network is what was built, once and not compressed.
  plugins: [react(), serviceWorker(here('src/sw.js')), compressed()],
  build: {
    target: 'es2022',
    emptyOutDir: true,
    // Pictures are files of their own: they are kept by their names, and not sent again with each change of the script.
    assetsInlineLimit: 0,
    rolldownOptions: { input: { index: here('index.html'), two: here('two.html') } },
  },
})
