// The first component of an app: small enough to be read, whole enough to record a session offline and see it arrive. `marea init`
// writes the same (native/src/bin/marea/commands/init/starter.rs).

import { readFileSync } from 'node:fs'

const text = (name) => readFileSync(new URL(`starter/${name}`, import.meta.url), 'utf8')

/** What is written for each, from starter/: where, from which file. `~` is the folder of the sources. */
const FILES = {
  react: { '~marea.schema.ts': 'marea.schema.ts', '~marea.ts': 'vite/marea.ts', '~Progress.tsx': 'react/Progress.tsx' },
  vue: {
    '~marea.schema.ts': 'marea.schema.ts',
    '~marea.ts': 'vite/marea.ts',
    '~Progress.vue': 'vue/Progress.vue',
    '~Today.vue': 'vue/Today.vue',
  },
  svelte: { '~marea.schema.ts': 'marea.schema.ts', '~marea.ts': 'vite/marea.ts', '~Progress.svelte': 'svelte/Progress.svelte' },
  vite: { '~marea.schema.ts': 'marea.schema.ts', '~marea.ts': 'vite/marea.ts' },
  next: {
    '~lib/marea.schema.ts': 'marea.schema.ts',
    '~lib/marea.ts': 'next/marea.ts',
    '~components/progress.tsx': 'next/progress.tsx',
  },
  none: {},
}

export const FRAMEWORKS = Object.keys(FILES)

/** The framework of an app with these dependencies. Vite alone is for whatever else is built with it. */
export function frameworkOf(has) {
  if (has('next')) return 'next'
  if (!has('vite')) return 'none'
  return ['react', 'vue', 'svelte'].find(has) ?? 'vite'
}

/** The files (path, text) and the variables of the environment that a framework gets; `schema` is where its schema module is. */
export function starter(framework, hasSrc) {
  const sources = framework !== 'next' || hasSrc ? 'src/' : ''
  const files = Object.entries(FILES[framework]).map(([path, name]) => [path.replace('~', sources), text(name)])
  const prefix = framework === 'next' ? 'NEXT_PUBLIC_' : 'VITE_'
  const variables = [
    { name: `${prefix}SUPABASE_URL`, value: 'url', example: 'https://project.supabase.co' },
    { name: `${prefix}SUPABASE_PUBLISHABLE_KEY`, value: 'key', example: 'sb_publishable_...' },
  ]
  const schema = files.map(([path]) => path).find((path) => path.endsWith('marea.schema.ts'))
  return { files, schema, environment: files.length > 0 ? { path: '.env.local', variables } : null }
}
