// The bindings of Kotlin and Python, each driven by a program on two devices of one learner, against the real server.
//
// `cargo xtask bindings` makes them, and runs this. What Swift's are, nothing here compiles.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startTables } from '../browser/tables-stage.mjs'
import { kotlinc } from './install.mjs'

const run = promisify(execFile)
const here = (name) => fileURLToPath(new URL(name, import.meta.url))
const bindings = process.env.MAREA_BINDINGS
// Where Debian has it.
const JNA = '/usr/share/java/jna.jar'
const folders = []
after(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })))

let stage, schema
before(async () => {
  assert.ok(bindings && existsSync(bindings), 'MAREA_BINDINGS names no folder: `cargo xtask bindings` makes it')
  stage = await startTables()
  schema = JSON.stringify(stage.schema())
})

async function environment() {
  const learner = await stage.signUp()
  const folder = mkdtempSync(join(tmpdir(), 'marea-bindings-'))
  folders.push(folder)
  const { url, anon_key } = stage.backend
  return {
    learner,
    env: { ...process.env, MAREA_USER: learner.id, MAREA_TOKEN: learner.token, MAREA_URL: url, MAREA_KEY: anon_key, MAREA_DIR: folder, MAREA_SCHEMA: schema },
  }
}

async function runs(program, args) {
  const { learner, env } = await environment()
  const { stdout } = await run(program, args, { env, timeout: 120_000 })
  assert.deepEqual(stdout.trim().split('\n'), ['vault_locked invalid_input unknown_table invalid_input query_refused storage_failed', 'closed'])
  const sessions = await stage.database.query('SELECT count(*)::int AS n FROM public.sessions WHERE user_id = $1', [learner.id])
  assert.equal(sessions.rows[0].n, 20, 'each once')
  const lists = await stage.database.query('SELECT title, position FROM public.word_lists WHERE user_id = $1', [learner.id])
  assert.deepEqual(lists.rows, [{ title: 'Animals', position: 3 }])
}

test('a program in Python', () => runs('python3', [here('program.py')]))

test('a program in Kotlin, on the JVM', async () => {
  assert.ok(existsSync(kotlinc) && existsSync(JNA), 'the Kotlin compiler or JNA is missing: `cargo xtask bindings --test` installs both')
  const [lib, jar] = [join(kotlinc, '../../lib'), join(bindings, 'program.jar')]
  const libraries = [JNA, join(lib, 'kotlinx-coroutines-core-jvm.jar'), join(lib, 'kotlin-stdlib.jar')]
  const sources = [join(bindings, 'dev/marea/marea.kt'), here('Program.kt')]
  await run(kotlinc, ['-nowarn', '-cp', libraries.join(':'), '-d', jar, ...sources], { timeout: 400_000 })
  await runs('java', [`-Djna.library.path=${bindings}`, '-cp', [jar, ...libraries].join(':'), 'ProgramKt'])
})

test("Swift's are made, with every call", () => {
  const swift = readFileSync(join(bindings, 'Marea.swift'), 'utf8')
  for (const name of ['open class Marea', 'func recordSession', 'func keysOpen', 'protocol TokenSource']) assert.ok(swift.includes(name), name)
})
