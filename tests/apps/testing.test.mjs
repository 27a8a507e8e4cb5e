// Unit tests as an app's author writes them, with the packed package: those that docs/UNIT_TESTS.md shows, as they are written there,
// under vitest and under Jest; what a test's device promises; and what the package's adapters do in the frameworks that they are for.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { before, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { apps } from './install.mjs'

const run = promisify(execFile)
const app = join(apps, 'testing')
const tables = fileURLToPath(new URL('../fixtures/words.sql', import.meta.url))

/** Runs a program of the app's; fails with what it said. */
async function runs(program, args, { node } = {}) {
  const bin = join(app, 'node_modules', '.bin', program)
  const options = { cwd: app, env: { ...process.env, CI: '1', MAREA_TABLES_SQL: tables }, maxBuffer: 2 ** 26 }
  await run(process.execPath, [...(node ?? []), bin, ...args], options).catch((error) => {
    throw new Error(`${program} failed\n${error.stdout}${error.stderr}`)
  })
}

/** Each example of a document whose first line is its file's name. */
function examples(document) {
  const text = readFileSync(new URL(`../../${document}`, import.meta.url), 'utf8')
  const blocks = [...text.matchAll(/^```tsx?\n\/\/ (src\/\S+)\n([^]*?)^```$/gm)]
  return blocks.map(([, name, code]) => ({ name, code }))
}

const ADAPTERS = readFileSync(new URL('../../docs/ADAPTERS.md', import.meta.url), 'utf8')
const adapterBlocks = (language) => [...ADAPTERS.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(([, code]) => code)

/** What docs/ADAPTERS.md takes for given. */
const GIVEN = `import type { Marea } from '@marea/client'
import type { MareaSource } from '@marea/client/react'
declare global {
  const App: object, id: string, marea: Marea, source: MareaSource
}
`

function write(file, code) {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, code)
}

before(() => {
  const schema = join(apps, 'vite-tables', 'src', 'marea.schema.ts')
  copyFileSync(schema, join(app, 'setup', 'marea.schema.ts'))
  for (const { name, code } of examples('docs/UNIT_TESTS.md')) {
    write(join(app, 'documented', name), code)
    // Jest needs no second run of what needs no DOM.
    if (name.includes('Practice')) write(join(app, 'in-jest', name), code.replace(/^import .* from 'vitest'\n/m, ''))
  }
  for (const { name, code } of examples('wasm/skills/marea/SKILL.md')) write(join(app, 'documented', 'skill', name), code)
  copyFileSync(schema, join(app, 'documented', 'skill', 'src', 'marea.schema.ts'))
  const adapters = join(app, 'documented', 'adapters')
  write(join(adapters, 'given.d.ts'), GIVEN)
  for (const [index, code] of adapterBlocks('ts').entries()) write(join(adapters, `${index}.ts`), code)
  for (const [index, code] of adapterBlocks('tsx').entries()) write(join(adapters, `${index}.tsx`), `/** @jsxImportSource solid-js */\n${code}`)
})

test("the components of docs/ADAPTERS.md are ones, to Vue's compiler and to Svelte's", async () => {
  const { compile } = await import(pathToFileURL(join(app, 'node_modules', 'svelte', 'src', 'compiler', 'index.js')))
  const { compileScript, compileTemplate, parse } = createRequire(join(app, 'package.json'))('vue/compiler-sfc')
  const [svelte, vue] = [adapterBlocks('svelte'), adapterBlocks('vue')]
  assert.deepEqual([svelte.length, vue.length], [2, 1])
  for (const code of svelte) assert.deepEqual(compile(code, { filename: 'App.svelte' }).warnings.filter(({ code }) => !code.startsWith('a11y')), [])
  for (const code of vue) {
    const { descriptor, errors } = parse(code)
    const { bindings } = compileScript(descriptor, { id: 'app' })
    const template = compileTemplate({ source: descriptor.template.content, filename: 'App.vue', id: 'app', compilerOptions: { bindingMetadata: bindings } })
    assert.deepEqual([...errors, ...template.errors], [])
  }
})

test('llms.txt names documents that are there, and their links lead to each other', () => {
  const dist = join(app, 'node_modules', '@marea', 'client', 'dist')
  const read = (path) => readFileSync(join(dist, path), 'utf8')
  const linksOf = (text) => [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, path]) => path)
  const listed = linksOf(read('llms.txt'))
  assert.ok(listed.length > 5, `${listed.length} documents`)
  for (const path of listed) {
    const text = read(path)
    for (const link of linksOf(text)) assert.ok(existsSync(join(dist, dirname(path), link)), `${path} links to ${link}`)
  }
})

test('vitest: the documented tests, the device, the adapters', () => runs('vitest', ['run']))

test('Jest: the documented test of a component, and fake timers', () => runs('jest', [], { node: ['--experimental-vm-modules'] }))

test('types: the documented tests', () => runs('tsc', ['--noEmit', '-p', '.']))
