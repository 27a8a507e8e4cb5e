// What the measurements stand on: the peers' packages, the pages, a real backend and a real Chromium.

import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = join(here, '..', '..')

/** Installs the peers in target/bench-web, unless that has been done for this lock file. */
export function installPeers() {
  const folder = join(root, 'target', 'bench-web')
  mkdirSync(folder, { recursive: true })
  cpSync(here, folder, { recursive: true, filter: (path) => !path.includes('node_modules') })
  const wanted = readFileSync(join(folder, 'package-lock.json'), 'utf8')
  const note = join(folder, '.installed')
  if (!existsSync(note) || readFileSync(note, 'utf8') !== wanted) {
    const options = { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] }
    // RxDB names a dozen frameworks as peers that nobody here uses.
    const flags = ['--ignore-scripts', '--legacy-peer-deps', '--no-audit', '--no-fund', '--loglevel=error']
    execFileSync('npm', ['ci', ...flags], options)
    writeFileSync(note, wanted)
  }
  return { folder, client: join(root, 'wasm', 'dist') }
}
