// Unit tests as an app's author writes them, with the packed package: those that docs/UNIT_TESTS.md shows, as they are written there,
// under vitest and under Jest; and what a test's device promises.

import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { before, test } from 'node:test'
import { promisify } from 'node:util'
import { apps } from './install.mjs'

const run = promisify(execFile)
const app = join(apps, 'testing')

/** Runs a program of the app's; fails with what it said. */
async function runs(program, args, env = {}) {
  const bin = join(app, 'node_modules', '.bin', program)
  await run(process.execPath, [...(env.node ?? []), bin, ...args], { cwd: app, env: { ...process.env, CI: '1' } }).catch((error) => {
    throw new Error(`${program} failed\n${error.stdout}${error.stderr}`)
  })
}

/** Each example of a document whose first line is its file's name. */
function examples(document) {
  const text = readFileSync(new URL(`../../docs/${document}`, import.meta.url), 'utf8')
  const blocks = [...text.matchAll(/^```tsx?\n\/\/ (src\/\S+)\n([^]*?)^```$/gm)]
  return blocks.map(([, name, code]) => ({ name, code }))
}

before(() => {
  for (const { name, code } of examples('UNIT_TESTS.md')) {
    for (const [folder, written] of [['documented', code], ['in-jest', code.replace(/^import .* from 'vitest'\n/m, '')]]) {
      // Jest needs no second run of what needs no DOM.
      if (folder === 'in-jest' && !name.includes('Practice')) continue
      const file = join(app, folder, name)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, written)
    }
  }
})

test('vitest: the documented tests, and the device, with and without a DOM', () => runs('vitest', ['run']))

test('Jest: the documented test of a component', () => runs('jest', [], { node: ['--experimental-vm-modules'] }))

test('types: the documented tests', () => runs('tsc', ['--noEmit', '-p', '.']))
