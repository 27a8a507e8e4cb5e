// What the documents show is right. Every block of code in them is of a kind that is looked at here, or named below with the test that does:
// TypeScript is compiled, SQL is run, commands are those that the programs take, JSON is JSON.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startTables } from './tables-stage.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const markdownBelow = (folder) =>
  readdirSync(`${root}${folder}`, { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return entry.name === 'adr' ? [] : markdownBelow(path)
    return path.endsWith('.md') ? [path] : []
  })
const documents = ['README.md', 'wasm/README.md', ...markdownBelow('docs')]

/** Whose blocks of these kinds another test looks at, which names the document. */
const ELSEWHERE = {
  'docs/migrations/DEPLOY.md bash': 'tests/tests/operations/documents.rs',
  'docs/migrations/DEPLOY.md sql': 'tests/tests/operations/documents.rs',
  'docs/migrations/OPERATIONS.md sql': 'tests/tests/operations/views.rs',
  // Statements for two servers.
  'docs/migrations/USERS.md sql': 'tests/tests/operations/moves.rs',
  'docs/PROTOCOL.md json': 'tests/tests/engine/protocol.rs',
  'docs/UNIT_TESTS.md ts': 'tests/apps/testing.test.mjs',
  'docs/UNIT_TESTS.md tsx': 'tests/apps/testing.test.mjs',
  'docs/ADAPTERS.md ts': 'tests/apps/testing.test.mjs',
  'docs/ADAPTERS.md tsx': 'tests/apps/testing.test.mjs',
  'docs/ADAPTERS.md vue': 'tests/apps/testing.test.mjs',
  'docs/ADAPTERS.md svelte': 'tests/apps/testing.test.mjs',
  'docs/DESKTOP.md c': 'tests/tests/desktop/c_library.rs',
  'docs/FIVE_MINUTES.md sh': 'tests/apps/five-minutes.mjs',
}
const CHECKED_HERE = ['ts', 'tsx', 'js', 'sql', 'sh', 'bash', 'json', 'html', 'toml']

const blocks = documents.flatMap((document) => {
  const text = readFileSync(`${root}${document}`, 'utf8')
  return [...text.matchAll(/^ *```([^\n]*)\n(.*?)^ *```$/gms)].map(([, language, code]) => ({ document, language, code }))
})
const here = (...languages) => blocks.filter(({ document, language }) => languages.includes(language) && !ELSEWHERE[`${document} ${language}`])
const of = (document, ...languages) => blocks.filter((block) => block.document === document && languages.includes(block.language)).map(({ code }) => code)

const run = (program, args, options = {}) =>
  new Promise((resolve) => {
    execFile(program, args, options, (error, out, err) => resolve({ code: error?.code ?? 0, said: out + err }))
  })

test('every block of code is of a kind that is checked, here or where it is said', () => {
  assert.ok(blocks.length > 50, `${blocks.length} blocks`)
  for (const { document, language, code } of blocks) {
    const where = `${document} ${language}`
    if (ELSEWHERE[where]) assert.ok(readFileSync(`${root}${ELSEWHERE[where]}`, 'utf8').includes(document.split('/').at(-1)), `${where} in ${ELSEWHERE[where]}`)
    // No language: a drawing, or the bytes of a format. Rust: native/tests/documents.rs reads all documents.
    else assert.ok(language === '' || language === 'text' || language === 'rust' || CHECKED_HERE.includes(language), `${where}: nothing checks\n${code}`)
  }
})

/** What the documents take for given. */
const GIVEN = `import type { Marea, OpenOptions } from '@marea/client'
import type { SupabaseLike } from '@marea/client/supabase'

declare global {
  const url: string, anonKey: string, publishableKey: string, userId: string, passphrase: string
  const user: { id: string } | null
  const file: Blob
  const options: OpenOptions
  const marea: Marea
  const supabase: SupabaseLike & { storage: { from(bucket: string): { remove(paths: string[]): Promise<{ data: unknown; error: Error | null }> } } }
  const clerk: { session?: { getToken(options: { skipCache: boolean }): Promise<string | null> } }
  function getAccessToken(fresh: boolean): Promise<string | null>
  function freshOrCurrentSession(fresh: boolean): Promise<{ access_token: string } | null>
  function show(...values: unknown[]): void
  function render(...values: unknown[]): void
  function sql(parts: TemplateStringsArray, ...values: unknown[]): Promise<{ path: string }[]>
}
`
// Packages of others, as far as the documents use them.
const OTHERS = {
  '@supabase/supabase-js': "export function createClient(url: string, key: string): import('@marea/client/supabase').SupabaseLike",
  '@tauri-apps/api/core': "declare const core: import('@marea/client/tauri').TauriCore\nexport const invoke: typeof core.invoke, Channel: typeof core.Channel",
  esbuild: "export function build(options: { entryPoints: Record<string, string>; outdir: string; bundle: boolean; format: 'esm' }): Promise<void>",
  vite: 'export function defineConfig(config: object): object',
  'node:fs': 'export function copyFileSync(from: string, to: string): void',
  'node:url': 'export function fileURLToPath(url: string | URL): string',
}

test('the TypeScript compiles', async (t) => {
  const folder = `${root}target/docs/`
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(`${folder}given.d.ts`, GIVEN)
  const paths = {}
  for (const [name, text] of Object.entries(OTHERS)) {
    const file = `${name.replaceAll(/\W/g, '_')}.other.d.ts`
    writeFileSync(`${folder}${file}`, text)
    paths[name] = [`./${file}`]
  }
  // WEB.md is one app, in its order; everywhere else a block stands for itself.
  const used = '\nexport { levels, next, row, stop, stopQuery, stopRow, untranslated }\n'
  writeFileSync(`${folder}web.ts`, of('docs/WEB.md', 'ts').join('\n') + used)
  for (const [number, { document, language, code }] of here('ts', 'tsx').entries()) {
    if (document === 'docs/WEB.md' && language === 'ts') continue
    const name = `${document.replaceAll(/\W/g, '_')}_${number}.${language}`
    // What is declared for the reader to go on with is not unused.
    writeFileSync(`${folder}${name}`, /^(import|export) /m.test(code) ? code : `export {}\n${code}`)
  }
  // The tables of an app, and mirrored sessions as the demo has them.
  const [sessions] = /^  sessions: \{\n.*?^  \}\n/ms.exec(readFileSync(`${root}demo/src/marea.schema.ts`, 'utf8'))
  const schema = readFileSync(`${root}tests/apps/vite-tables/src/marea.schema.ts`, 'utf8')
  writeFileSync(`${folder}marea.schema.ts`, schema.replace('export interface Schema {\n', (begin) => begin + sessions))
  writeFileSync(`${folder}tsconfig.json`, JSON.stringify({ extends: '../../tests/types/tsconfig.json', compilerOptions: { paths, noImplicitAny: false }, include: ['*'] }))
  const { code, said } = await run(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', folder])
  assert.equal(code, 0, said)
})

test('the JavaScript, the JSON and the HTML can be read', async (t) => {
  const folder = `${root}target/docs-js/`
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  for (const [number, { document, code }] of here('js').entries()) {
    writeFileSync(`${folder}${number}.mjs`, code)
    const { code: exit, said } = await run(process.execPath, ['--check', `${folder}${number}.mjs`])
    assert.equal(exit, 0, `${document}\n${said}`)
  }
  for (const { document, code } of here('json')) assert.doesNotThrow(() => JSON.parse(code), `${document}\n${code}`)
  for (const { document, code } of here('html')) assert.match(code, /^(\s*<(\w+)( [^<>]*)?>(<\/\2>)?)+\s*$/, document)
  for (const { document, code } of here('toml')) assert.match(code, /^[\w-]+ = \{ .* \}( +#.*)?\n$/, document)
})

test('the SQL runs', async (t) => {
  const stage = await startTables()
  // What Supabase has, and the backend has not; and what the documents say that the app has.
  await stage.database.query(`
    CREATE SCHEMA vault; CREATE SCHEMA cron;
    CREATE FUNCTION vault.create_secret(secret text, name text) RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()';
    CREATE FUNCTION cron.schedule(name text, schedule text, command text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';
    CREATE TABLE IF NOT EXISTS auth.users (id uuid PRIMARY KEY, email text);
    ALTER TABLE public.vocabulary_items ADD COLUMN times_seen integer NOT NULL DEFAULT 0;
    CREATE TABLE public.phrases (id uuid PRIMARY KEY, user_id uuid NOT NULL REFERENCES public.users (id), phrase text,
        times_seen integer NOT NULL DEFAULT 0, source text);
    ALTER TABLE public.phrases ENABLE ROW LEVEL SECURITY;
    CREATE POLICY phrases_own ON public.phrases TO authenticated USING (user_id = (SELECT auth.uid()));
    GRANT ALL ON public.phrases TO authenticated`)
  for (const { document, code } of here('sql')) {
    await t.test(`${document}: ${code.split('\n')[0]}`, async () => {
      // None of them is to change anything for the next.
      const calls = /^CALL /m.test(code)
      const client = await stage.database.connect()
      try {
        if (!calls) await client.query('BEGIN')
        await client.query(code)
      } finally {
        if (!calls) await client.query('ROLLBACK')
        client.release()
      }
    })
  }
})

test('the commands are those that the programs take', async (t) => {
  const marea = process.env.MAREA_BIN ?? `${root}target/debug/marea`
  const xtask = readFileSync(`${root}xtask/src/main.rs`, 'utf8').toLowerCase()
  for (const { document, language, code } of here('sh', 'bash')) {
    const { code: exit, said } = await run('bash', ['-n', '-c', code])
    assert.equal(exit, 0, `${document}\n${said}`)
    for (const line of code.split('\n')) {
      const [command] = line.split(/\s+#/)
      const words = command.trim().split(/\s+/)
      const where = `${document} (${language}): ${line}`
      for (const [, file] of command.matchAll(/-f "?([\w./-]+\.sql)"?/g)) assert.ok(existsSync(`${root}${file.replace('node_modules/@marea/client/dist/sql', 'migrations')}`), where)
      if (words[0] === 'cargo' && words[1] === 'xtask') {
        assert.ok(xtask.includes(words[2].replaceAll('-', '')), where)
      } else if (words[0] === 'marea') {
        const path = words.slice(1).filter((word, place, all) => all.slice(0, place + 1).every((one) => /^[a-z]+(\|[a-z]+)*$/.test(one)))
        const variants = path.at(-1)?.split('|') ?? []
        for (const last of variants) {
          const { code: known } = await run(marea, [...path.slice(0, -1), last, '--help'])
          assert.equal(known, 0, `${where}: ${last}`)
        }
        const help = (await run(marea, [...path.slice(0, -1), variants[0] ?? '', '--help'].filter(Boolean))).said
        for (const flag of command.match(/--[a-z-]+/g) ?? []) assert.ok(help.includes(flag), `${where}: ${flag}`)
      }
    }
  }
})

test('the commands of the package get as far as the network, where nobody is', async () => {
  for (const line of of('docs/WEB.md', 'sh').join('').trim().split('\n')) {
    const [, args] = /^npx marea-client (.*?)(?:\s+#.*)?$/.exec(line)
    const given = args.split(' ').map((part) => ({ '"$URL"': 'http://127.0.0.1:9', '"$KEY"': 'anon' })[part] ?? part)
    const { code, said } = await run(process.execPath, [`${root}wasm/cli/marea-client.mjs`, ...given])
    assert.equal(code, 3, said)
  }
})

test("the declarations of WEB.md are those of the tests' tables", () => {
  const fixture = readFileSync(`${root}tests/fixtures/words.sql`, 'utf8')
  for (const line of of('docs/WEB.md', 'sql').join('').trim().split('\n')) assert.ok(fixture.includes(line), line)
})

test('every field of every value is in FIELDS.md', async () => {
  const { code, said } = await run(process.execPath, [`${root}wasm/api/fields.mjs`, '--check'])
  assert.equal(code, 0, said)
})

test('what a page of the same origin can ask for over the channel is told, all of it', () => {
  const [table] = /^const table[^]*?^}/m.exec(readFileSync(`${root}wasm/js/check.ts`, 'utf8'))
  const taken = [...table.matchAll(/^  (\w+): \[/gm)].map(([, name]) => name)
  const rows = readFileSync(`${root}docs/THREATS.md`, 'utf8').matchAll(/^\| `calls`: ([^|]*)\|/gm)
  const told = [...rows].flatMap(([, names]) => [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name))
  assert.ok(taken.length > 40, `${taken.length} calls`)
  assert.deepEqual(told.sort(), taken.sort())
})
