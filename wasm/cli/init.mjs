// `npx marea-client init`: brings Marea's SQL into the project as its migration tool wants it, and a first component. Run again, it
// adds what is missing and changes nothing that is there. It reads no database and asks no server.

import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Failure } from './failure.mjs'
import { FRAMEWORKS, frameworkOf, starter } from './starter.mjs'
import { TOOLS, migrationFiles } from './tools.mjs'

/** Where the SQL is: in the package beside this, in the repository above it. */
const SOURCES = ['../dist/sql/', '../../migrations/'].map((path) => fileURLToPath(new URL(path, import.meta.url)))

export const TOOL_NAMES = Object.keys(TOOLS)

/** In the order of running. `adopt` changes nothing where there is nothing to adopt. */
export function steps(folder = SOURCES.find((path) => existsSync(join(path, 'adopt.sql')))) {
  if (!folder) throw new Failure(1, "the package has no SQL: install it again, or use the repository's migrations/")
  const numbered = readdirSync(folder).filter((name) => /^\d{3}_.*\.sql$/.test(name) && !name.endsWith('_rollback.sql'))
  return ['adopt.sql', ...numbered.sort()].map((name) => ({
    name: name.replace('.sql', ''),
    up: readFileSync(join(folder, name), 'utf8'),
    down: readFileSync(join(folder, name.replace('.sql', '_rollback.sql')), 'utf8'),
  }))
}

/** Writes what is missing below `root`; says each file. */
export function runInit({ root, tool = detectTool(root), framework = detectFramework(root), url, key, now = new Date(), say }) {
  if (!Object.hasOwn(TOOLS, tool)) throw new Failure(2, `--tool: one of ${TOOL_NAMES.join(', ')}`)
  if (!FRAMEWORKS.includes(framework)) throw new Failure(2, `--framework: one of ${FRAMEWORKS.join(', ')}`)
  const { folder } = TOOLS[tool]
  const present = existsSync(join(root, folder)) ? readdirSync(join(root, folder)) : []
  const all = steps()
  const wanted = migrationFiles(tool, all, present, now).map(({ name, text }) => [`${folder}/${name}`, text])
  const { files, schema, environment } = starter(framework, existsSync(join(root, 'src')))
  let added = 0
  for (const [path, text] of [...wanted, ...files]) added += add(root, path, text, say)
  added += addLines(root, environment, { url, key }, say)
  say(added === 0 ? 'Everything is there: nothing was added.' : '')
  say(TOOLS[tool].next(all))
  say('Before it, ask the database what stands in the way: paste node_modules/@marea/client/dist/sql/preflight.sql into the SQL editor.')
  if (schema) say(`Then: npx marea-client schema --out ${schema}, and show the component where a learner is signed in.`)
}

function add(root, path, text, say) {
  const place = join(root, path)
  if (existsSync(place)) return 0
  mkdirSync(dirname(place), { recursive: true })
  writeFileSync(place, text, { flag: 'wx' })
  say(`added ${path}`)
  return 1
}

/** Variables that the environment file lacks, at its end. A value that is there stays. */
function addLines(root, environment, values, say) {
  if (!environment) return 0
  const place = join(root, environment.path)
  const before = existsSync(place) ? readFileSync(place, 'utf8') : ''
  const missing = environment.variables.filter(({ name }) => !new RegExp(`^(export\\s+)?${name}=`, 'm').test(before))
  if (missing.length === 0) return 0
  const lines = missing.map(({ name, value, example }) => `${name}=${values[value] ?? example}\n`).join('')
  writeFileSync(place, `${before}${before === '' || before.endsWith('\n') ? '' : '\n'}${lines}`)
  say(`added ${missing.map(({ name }) => name).join(', ')} to ${environment.path}`)
  return 1
}

function detectTool(root) {
  return TOOL_NAMES.find((name) => TOOLS[name].signs.some((sign) => existsSync(join(root, sign)))) ?? 'supabase'
}

function detectFramework(root) {
  if (!existsSync(join(root, 'package.json'))) return 'none'
  const { dependencies = {}, devDependencies = {} } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  return frameworkOf((name) => name in dependencies || name in devDependencies)
}
