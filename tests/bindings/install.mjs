// `node install.mjs` installs the Kotlin compiler below target/ from the lock file; what is there stays as long as that does.

import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const folder = join(here, '..', '..', 'target', 'kotlin')
const NEEDED = ['package.json', 'package-lock.json', '.npmrc']

/** The compiler's program. */
export const kotlinc = join(folder, 'node_modules', 'kotlin-compiler', 'bin', 'kotlinc')

if (process.argv[1] === fileURLToPath(import.meta.url)) install()

function install() {
  const wanted = readFileSync(join(here, 'package-lock.json'), 'utf8')
  const note = join(folder, '.installed')
  if (existsSync(note) && readFileSync(note, 'utf8') === wanted) return
  mkdirSync(folder, { recursive: true })
  for (const name of NEEDED) cpSync(join(here, name), join(folder, name))
  execFileSync('npm', ['ci', '--ignore-scripts'], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
  writeFileSync(note, wanted)
}
