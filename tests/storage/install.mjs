// `node install.mjs` installs the packages of this folder below target/ from the lock file, and a server of S3 (`s3s-fs`) from crates.io;
// what is there stays as long as its version does.
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

const S3S_VERSION = '0.14.1'
const tools = join(here, '..', '..', 'target', 'tools')

/** The server of S3. */
export function s3Server() {
  const program = process.env.MAREA_S3S ?? join(tools, `s3s-fs-${S3S_VERSION}`, 'bin', 's3s-fs')
  if (!existsSync(program)) throw new Error(`${program} is missing. Run \`node tests/storage/install.mjs\` first, or name one in MAREA_S3S.`)
  return program
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  installPackages()
  if (!process.env.MAREA_S3S) installS3()
}

function installS3() {
  const root = join(tools, `s3s-fs-${S3S_VERSION}`)
  if (existsSync(join(root, 'bin', 's3s-fs'))) return
  // Unoptimised and without debug information: it is quick to build, and quick enough.
  const words = ['install', 's3s-fs', '--version', S3S_VERSION, '--features', 'binary', '--locked', '--debug', '--quiet']
  const env = { ...process.env, CARGO_PROFILE_DEV_DEBUG: 'false' }
  execFileSync('cargo', [...words, '--root', root, '--target-dir', join(tools, 'build')], { env, stdio: ['ignore', 'inherit', 'inherit'] })
  rmSync(join(tools, 'build'), { recursive: true, force: true })
}

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
