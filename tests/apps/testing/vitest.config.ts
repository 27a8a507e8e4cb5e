import { defineConfig } from 'vitest/config'

export default defineConfig({
  esbuild: { jsx: 'automatic' },
  test: { include: ['documented/**/*.test.{ts,tsx}', 'unit/**/*.test.{ts,tsx}'], testTimeout: 30_000 },
})
