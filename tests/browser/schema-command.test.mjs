// `npx marea-client schema` as a person or a build runs it: a process, its words, its exit code, its files. A small server of the test's
// stands for the database; tables.test.mjs asks the real one.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const PROGRAM = `${root}wasm/cli/marea-client.mjs`
const FIXTURE = `${root}tests/fixtures/schema/`
const KEY = 'sb_publishable_1234'
const catalogue = JSON.parse(readFileSync(`${FIXTURE}catalogue.json`, 'utf8'))

let server, url, folder, answer, asked
before(async () => {
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => (body += chunk))
    request.on('end', () => {
      asked = { method: request.method, path: request.url, headers: request.headers, body }
      const { status = 200, headers = {}, json, text } = answer
      response.writeHead(status, { 'content-type': 'application/json', ...headers })
      response.end(text ?? JSON.stringify(json))
    })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${server.address().port}`
  folder = mkdtempSync(join(tmpdir(), 'marea-schema-'))
})
after(() => {
  server.close()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => {
  answer = { json: catalogue }
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true })
})

/** Runs it in the folder, with nothing from this environment. */
function run(args, env = {}) {
  const options = { cwd: folder, env: { PATH: process.env.PATH, ...env } }
  return new Promise((resolve) => {
    execFile(process.execPath, [PROGRAM, ...args], options, (error, out, err) => resolve({ code: error?.code ?? 0, out, err }))
  })
}
const schema = (...args) => run(['schema', '--url', url, '--key', KEY, ...args])
const written = (name = 'marea.schema.ts') => readFileSync(join(folder, name), 'utf8')
const changed = (change) => {
  const copy = structuredClone(catalogue)
  change(copy)
  return copy
}

test('it asks the one function, as the project, and writes a module', async () => {
  const { code, out } = await schema()
  assert.deepEqual([code, out], [0, 'marea.schema.ts is written (3 tables)\n'])
  assert.equal(written(), readFileSync(`${FIXTURE}marea.schema.ts`, 'utf8'))
  assert.deepEqual([asked.method, asked.path, asked.body], ['POST', '/rest/v1/rpc/marea_catalogue', '{}'])
  assert.deepEqual([asked.headers.apikey, asked.headers.authorization], [KEY, undefined])
  assert.deepEqual(readdirSync(folder), ['marea.schema.ts'], 'nothing unfinished is left')
})

test('a name that ends in .json gets the catalogue alone', async () => {
  assert.equal((await schema('--out', 'marea.schema.json')).code, 0)
  assert.equal(written('marea.schema.json'), readFileSync(`${FIXTURE}marea.schema.json`, 'utf8'))
  const { tables, hash } = JSON.parse(written('marea.schema.json'))
  assert.deepEqual([hash, tables.length], [catalogue.hash, 3])
})

test('the same catalogue is the same file, in whatever order the server says it', async () => {
  await schema()
  const before = written()
  const shuffled = (object) => Object.fromEntries(Object.entries(object).reverse())
  answer.json = changed((copy) => {
    copy.tables = copy.tables.reverse().map((table) => shuffled({ ...table, columns: table.columns.map(shuffled) }))
  })
  assert.equal((await schema()).out, 'marea.schema.ts is up to date (3 tables)\n')
  assert.equal(written(), before)
})

test('the server may be in the environment', async () => {
  const { code } = await run(['schema'], { MAREA_URL: `${url}/`, MAREA_ANON_KEY: KEY })
  assert.deepEqual([code, asked.path], [0, '/rest/v1/rpc/marea_catalogue'])
})

test('--check says nothing is to be done, whatever git made of the line ends', async () => {
  await schema()
  writeFileSync(join(folder, 'marea.schema.ts'), written().replaceAll('\n', '\r\n'))
  assert.deepEqual(await schema('--check'), { code: 0, out: 'marea.schema.ts is up to date\n', err: '' })
})

test('--check shows what differs, and writes nothing', async () => {
  for (const name of ['marea.schema.ts', 'marea.schema.json']) {
    copyFileSync(`${FIXTURE}${name}`, join(folder, name))
    const before = written(name)
    answer.json = changed(({ tables }) => {
      const [stock, , places] = tables
      stock.columns = stock.columns.filter((column) => column.name !== 'origin')
      stock.columns[0].nullable = undefined
      stock.columns[1].max = 100
      stock.columns[2].labels.push('lost')
      stock.columns.push({ name: 'note', type: 'text', rule: 'register' })
      places.write = true
      tables[1] = { ...places, name: 'rooms' }
    })
    const { code, out, err } = await schema('--check', '--out', name)
    assert.deepEqual([code, out], [1, ''])
    const [first, ...lines] = err.trimEnd().split('\n')
    assert.deepEqual([first, lines.pop()], [`${name} differs from the server:`, 'Write it again: npx marea-client schema'])
    assert.deepEqual(lines, [
      '  - table settings',
      '  ~ table places: write false -> true',
      '  + table rooms',
      '  - stock_items.origin',
      '  ~ stock_items.id: nullable false -> not set',
      '  ~ stock_items.label: max 200 -> 100',
      '  ~ stock_items.state: labels ["new","in \\"use\\"","it\'s gone"] -> ["new","in \\"use\\"","it\'s gone","lost"]',
      '  + stock_items.note (text, register)',
    ])
    assert.equal(written(name), before)
  }
})

test('--check of a file that was edited, or is not there', async () => {
  const missing = await schema('--check')
  assert.deepEqual([missing.code, missing.err], [1, 'marea.schema.ts does not exist. Write it again: npx marea-client schema\n'])
  await schema()
  writeFileSync(join(folder, 'marea.schema.ts'), written().replace('label?: string', 'label?: number'))
  const edited = await schema('--check')
  assert.equal(edited.code, 1)
  assert.match(edited.err, /the same tables, but the file was edited/)
  writeFileSync(join(folder, 'marea.schema.ts'), 'export const schema = 1\n')
  assert.equal((await schema('--check')).code, 1)
})

test('without a mirrored table it says how to have one', async () => {
  answer.json = { version: 1, hash: '00', tables: [] }
  const { code, out } = await schema()
  assert.equal(code, 0)
  assert.match(out, /0 tables[^]*SELECT marea\.mirror\('public\.your_table'\)/)
  assert.match(written(), /export interface Schema \{\n\}/)
  assert.equal((await schema('--check')).code, 0)
})

/** What a server may answer, how the word that helps begins, and the exit code. */
const refusals = [
  [{ status: 404, json: { code: 'PGRST202', message: 'x' } }, /no function marea_catalogue: run Marea's migrations/, 1],
  [{ status: 401, json: { message: 'Invalid API key' } }, /does not take the key \(HTTP 401\)/, 1],
  [{ status: 403, text: 'no' }, /does not take the key \(HTTP 403\)/, 1],
  [{ status: 401, json: { code: '42501' } }, /may not call marea_catalogue/, 1],
  [{ status: 404, text: '<html>' }, /has no \/rest\/v1\/rpc/, 1],
  [{ status: 301, headers: { location: 'https://elsewhere.example/rest/v1' }, text: '' }, /sends on to https:\/\/elsewhere\.example/, 1],
  [{ status: 503, text: 'busy' }, /answered HTTP 503/, 1],
  [{ status: 500, json: { code: '57014' } }, /answered HTTP 500 \(57014\)/, 1],
  [{ text: '<html>Sign in to the Wi-Fi' }, /did not answer with JSON/, 1],
  [{ json: [] }, /is no catalogue/, 1],
  [{ json: { version: 2, hash: '00', tables: [] } }, /update @marea\/client/, 1],
  [{ json: { version: 1, hash: '*/ alert(1) /*', tables: [] } }, /is no catalogue/, 1],
  [{ json: { version: 1, hash: '00', tables: [{ name: 'x; y', key: 'id', columns: [] }] } }, /is no catalogue/, 1],
  [{ json: { version: 1, hash: '00', tables: [{ name: 'x', key: 'id', columns: [{ name: 'id' }] }] } }, /is no catalogue/, 1],
  [{ json: { version: 1, hash: '00', tables: [{ name: 'x', key: 'id', columns: [] }] } }, /table x has no key/, 1],
]

test('what the server refuses is told with a way out, and nothing is written', async () => {
  for (const [given, expected, exitCode] of refusals) {
    answer = given
    const { code, out, err } = await schema()
    assert.deepEqual([code, out], [exitCode, ''], JSON.stringify(given))
    assert.match(err, expected)
    assert.doesNotMatch(err, /sb_publishable|    at /, 'no key, no stack')
  }
  assert.deepEqual(readdirSync(folder), [])
})

test('without a network it is exit code 3', async () => {
  const { code, err } = await run(['schema', '--url', 'http://127.0.0.1:9', '--key', 'x'])
  assert.equal(code, 3)
  assert.match(err, /127\.0\.0\.1:9 cannot be reached/)
})

test('a wrong command line is exit code 2, and says how it goes', async () => {
  for (const [args, expected] of [
    [[], /marea-client schema --url URL --key KEY/],
    [['shema'], /unknown command: shema/],
    [['schema', '--key', 'x'], /--url \(or MAREA_URL\)/],
    [['schema', '--url', url], /--key \(or MAREA_KEY\)/],
    [['schema', '--url', 'project', '--key', 'x'], /--url: expected an address/],
    [['schema', '--url', `${url}/rest/v1`, '--key', 'x'], /before \/rest\/v1/],
    [['schema', '--url', url, '--key', 'x\ny'], /--key: expected a key without spaces/],
    [['schema', '--url', url, '--key', 'x', '--out', 'schema.sql'], /\.ts or \.json/],
    [['schema', '--url', url, '--key', 'x', '--chek'], /chek/],
  ]) {
    const { code, err } = await run(args)
    assert.equal(code, 2, args.join(' '))
    assert.match(err, expected)
  }
  const { code, out } = await run(['schema', '--help'])
  assert.equal(code, 0)
  assert.match(out, /Exit codes/)
})

test('a file that cannot be written is told', async () => {
  const { code, err } = await schema('--out', 'nowhere/marea.schema.ts')
  assert.deepEqual([code, err], [1, 'nowhere/marea.schema.ts cannot be written (ENOENT)\n'])
})

test('without TLS only this machine is asked, unless that is asked for', async () => {
  for (const host of ['10.255.255.1:1', 'x.supabase.co', 'localhost.example.com']) {
    const { code, err } = await run(['schema', '--url', `http://${host}`, '--key', KEY])
    assert.equal(code, 2, err)
    assert.match(err, /--allow-http/)
  }
  const words = ['schema', '--url', 'http://a.invalid', '--key', KEY]
  assert.equal((await run([...words, '--allow-http'])).code, 3)
  assert.equal((await run(words, { MAREA_ALLOW_HTTP: '1' })).code, 3)
})

test('nothing that the server says steers the terminal', async () => {
  await schema()
  const hostile = '\u001b]0;owned\u0007\u202egpj\u009b2J'
  const said = []
  answer = { json: changed(({ tables }) => (tables[0].columns[0].surprise = hostile)) }
  said.push(await schema('--check'))
  answer = { status: 302, headers: { location: 'http://x/' }, text: hostile }
  said.push(await schema())
  said.push(await schema('--out', `${hostile}.txt`))
  for (const { code, out, err } of said) {
    assert.notEqual(code, 0)
    assert.doesNotMatch(out + err, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
  }
  assert.match(said[0].err + said[2].err, /u\{?0*1b/)
})
