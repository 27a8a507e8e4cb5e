// `node install.mjs` installs the packages of this folder below target/ from the lock file; what is there stays as long as that does.
// The test files run beside one another, so it is run once, before them.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const folder = join(here, '..', '..', 'target', 'storage-clients')
const PACKED = ['package.json', 'package-lock.json', '.npmrc']

/** Imports an installed package. */
export const load = (name) => import(pathToFileURL(createRequire(join(folder, 'package.json')).resolve(name)))

if (process.argv[1] === fileURLToPath(import.meta.url)) installPackages()

function installPackages() {
  mkdirSync(folder, { recursive: true })
  const hash = createHash('sha256')
  for (const name of PACKED) hash.update(readFileSync(join(here, name)))
  const wanted = hash.digest('hex')
  const note = join(folder, '.installed')
  if (existsSync(note) && readFileSync(note, 'utf8') === wanted) return
  rmSync(note, { force: true })
  for (const name of PACKED) cpSync(join(here, name), join(folder, name))
  const npm = ['ci', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund']
  execFileSync('npm', npm, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
  writeFileSync(note, wanted)
}
