import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

export default defineConfig({
  plugins: [react()],
  // Vite's development server bundles what is imported into one file, away from Marea's worker. A build needs no setting.
  optimizeDeps: { exclude: ['@marea/client'] },
})
