// The packages of this folder, installed below target/ from the lock file; what is there stays as long as that does.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const folder = join(here, '..', '..', 'target', 'storage-clients')
const PACKED = ['package.json', 'package-lock.json', '.npmrc']

/** Installs the packages, where that has not been done, and gives a function that imports one. */
export function installPackages() {
  mkdirSync(folder, { recursive: true })
  const hash = createHash('sha256')
  for (const name of PACKED) hash.update(readFileSync(join(here, name)))
  const wanted = hash.digest('hex')
  const note = join(folder, '.installed')
  if (!existsSync(note) || readFileSync(note, 'utf8') !== wanted) {
    rmSync(note, { force: true })
    for (const name of PACKED) cpSync(join(here, name), join(folder, name))
    const npm = ['ci', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund']
    execFileSync('npm', npm, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
    writeFileSync(note, wanted)
  }
  const from = createRequire(join(folder, 'package.json'))
  return (name) => import(pathToFileURL(from.resolve(name)))
}
