import { svelte } from '@sveltejs/vite-plugin-svelte'
import solid from 'vite-plugin-solid'
import { defineConfig } from 'vitest/config'

const testTimeout = 30_000

export default defineConfig({
  test: {
    projects: [
      {
        esbuild: { jsx: 'automatic' },
        test: {
          name: 'units',
          include: ['documented/**/*.test.{ts,tsx}', 'unit/**/*.test.{ts,tsx}'],
          globalSetup: ['setup/backend.ts'],
          testTimeout,
        },
      },
      {
        // Of Svelte and Solid there is one build for servers and one for browsers, also inside of what uses them.
        plugins: [svelte(), solid({ include: /solid\.test\.tsx$/, hot: false })],
        resolve: { conditions: ['browser'] },
        test: {
          name: 'frameworks',
          include: ['frameworks/**/*.test.{ts,tsx}'],
          environment: 'jsdom',
          server: { deps: { inline: [/solid-js/, /svelte/, /@marea/] } },
          testTimeout,
        },
      },
    ],
  },
})
