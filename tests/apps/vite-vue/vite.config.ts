import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

export default defineConfig({
  plugins: [vue()],
  // Before Vite 8 the development server bundles what is imported into one file, away from Marea's worker. A build needs no setting.
  optimizeDeps: { exclude: ['@marea/client'] },
})
