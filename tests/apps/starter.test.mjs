// What `npx marea-client init` writes is what each framework's compiler takes, types and all.

import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { bin, build, checkTypes } from './drive.mjs'
import { apps } from './install.mjs'

/** How each app shows the component, and what it is made from. */
const APPS = {
  react: ['main.tsx', "import { createRoot } from 'react-dom/client'\nimport { Progress } from './Progress'\n\ncreateRoot(document.body).render(<Progress />)\n"],
  vue: ['main.ts', "import { createApp } from 'vue'\nimport Progress from './Progress.vue'\n\ncreateApp(Progress).mount('#root')\n"],
  svelte: ['main.ts', "import { mount } from 'svelte'\nimport Progress from './Progress.svelte'\n\nmount(Progress, { target: document.body })\n"],
}
const TYPES = '{ "extends": "../tsconfig.json", "compilerOptions": { "types": ["vite/client", "node"], "skipLibCheck": true }, "include": ["**/*.ts", "**/*.tsx"] }'

/** A folder with nothing but what `init` has written for an app that depends on this. */
async function made(name, dependencies) {
  const folder = join(apps, name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module', dependencies: Object.fromEntries(dependencies.map((each) => [each, '*'])) }))
  writeFileSync(join(folder, 'tsconfig.json'), TYPES)
  await build(process.execPath, [`${apps}/node_modules/@marea/client/cli/marea-client.mjs`, 'init', '--tool', 'psql'], name)
  return folder
}

for (const [framework, [main, text]] of Object.entries(APPS)) {
  test(`${framework}: the component is built`, async () => {
    const name = `starter-${framework}`
    const folder = await made(name, [framework, 'vite'])
    for (const file of ['index.html', 'vite.config.ts']) cpSync(join(apps, `vite-${framework}`, file), join(folder, file))
    writeFileSync(join(folder, 'index.html'), readFileSync(join(folder, 'index.html'), 'utf8').replace(/src\/main\.tsx?/, `src/${main}`))
    writeFileSync(join(folder, 'src', main), text)
    if (framework === 'react') await checkTypes(name)
    await build(bin('vite'), ['build', '--logLevel', 'warn'], name)
    assert.match(readFileSync(join(folder, 'dist/index.html'), 'utf8'), /assets\//)
  })
}

test('next: the component has the types that it says', async () => {
  const folder = await made('starter-next', ['next', 'react'])
  assert.match(readFileSync(join(folder, 'components/progress.tsx'), 'utf8'), /^'use client'/)
  await checkTypes('starter-next')
})
