// What docs/WEB.md shows is right: its TypeScript is checked by the compiler against the module of the apps in tests/apps, its SQL is
// what the tests' tables are declared with, and its commands are those that the program takes.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const text = readFileSync(`${root}docs/WEB.md`, 'utf8')
const blocks = [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language, code]) => ({ language, code }))
const of = (...languages) => blocks.filter(({ language }) => languages.includes(language)).map(({ code }) => code)

const run = (program, args, options = {}) =>
  new Promise((resolve) => {
    execFile(program, args, options, (error, out, err) => resolve({ code: error?.code ?? 0, said: out + err }))
  })

test('every block of code is of a kind that is checked', () => {
  assert.deepEqual(new Set(blocks.map(({ language }) => language)), new Set(['sql', 'sh', 'ts', 'tsx']))
})

test('the TypeScript compiles, in its order, as one app', async (t) => {
  const folder = `${root}target/web-docs/`
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const given = 'declare const url: string, anonKey: string, userId: string\ndeclare function getAccessToken(fresh: boolean): Promise<string | null>\n'
  const used = '\nexport { levels, next, row, stop, stopQuery, stopRow, untranslated }\n'
  writeFileSync(`${folder}app.ts`, given + of('ts').join('\n') + used)
  of('tsx').forEach((code, index) => writeFileSync(`${folder}hooks${index}.tsx`, code))
  writeFileSync(`${folder}marea.schema.ts`, readFileSync(`${root}tests/apps/vite-tables/src/marea.schema.ts`, 'utf8'))
  writeFileSync(`${folder}tsconfig.json`, JSON.stringify({ extends: '../../tests/types/tsconfig.json', include: ['*'] }))
  const { code, said } = await run(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', folder])
  assert.equal(code, 0, said)
})

test('the declarations are those of the tables that the tests use', () => {
  const fixture = readFileSync(`${root}tests/fixtures/words.sql`, 'utf8')
  for (const line of of('sql').join('').trim().split('\n')) assert.ok(fixture.includes(line), line)
})

test('the commands are those that the program takes', async () => {
  for (const line of of('sh').join('').trim().split('\n')) {
    const [, args] = /^npx marea-client (.*?)(?:\s+#.*)?$/.exec(line)
    const given = args.split(' ').map((part) => ({ '"$URL"': 'http://127.0.0.1:9', '"$ANON_KEY"': 'anon' })[part] ?? part)
    // It gets as far as the network, where nobody is.
    const { code, said } = await run(process.execPath, [`${root}wasm/cli/marea-client.mjs`, ...given])
    assert.equal(code, 3, said)
  }
})
