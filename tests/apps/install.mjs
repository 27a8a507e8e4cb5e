// `node install.mjs` puts the packed npm package in a folder of apps, as their author would have it: everything from the registry
// but Marea, and Marea from its tarball. The folder is target/apps; what was installed there stays as long as the lock file does.
// `older` has older bundlers, in a folder of its own, and `testing` the runners of unit tests. The test files run beside one another, so it is run once, before them.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = join(here, '..', '..')
const PACKED = ['package.json', 'package-lock.json', '.npmrc']

/** Where the apps are. */
export const apps = join(root, 'target', 'apps')

if (process.argv[1] === fileURLToPath(import.meta.url)) installApps()

function installApps() {
  const older = join(apps, 'older')
  const testing = join(apps, 'testing')
  // Sources anew, and nothing that an earlier run built from older ones.
  for (const folder of [apps, older, testing]) {
    mkdirSync(folder, { recursive: true })
    for (const name of readdirSync(folder)) {
      if (!['node_modules', '.installed', 'older', 'testing'].includes(name)) rmSync(join(folder, name), { recursive: true })
    }
  }
  const others = (path) => !['node_modules', 'dist', '.next', '.parcel-cache'].includes(basename(path))
  cpSync(here, apps, { recursive: true, filter: others })
  for (const app of ['next-app-router', 'vite-react', 'vite-vue', 'vite-svelte']) {
    cpSync(join(here, app), join(older, app), { recursive: true, filter: others })
  }
  cpSync(join(here, 'tsconfig.json'), join(older, 'tsconfig.json'))
  // Two files of tests build it at the same time, and Next writes into the sources.
  cpSync(join(here, 'next-app-router'), join(apps, 'next-16'), { recursive: true, filter: others })
  installPackages(here, apps)
  installPackages(join(here, 'older'), older)
  installPackages(join(here, 'testing'), testing)
  const tarball = pack()
  for (const folder of [apps, testing]) installMarea(tarball, folder)
}

function installPackages(source, folder) {
  const hash = createHash('sha256')
  for (const name of PACKED) hash.update(readFileSync(join(source, name)))
  const wanted = hash.digest('hex')
  const note = join(folder, '.installed')
  if (existsSync(note) && readFileSync(note, 'utf8') === wanted) return
  rmSync(note, { force: true })
  // Scripts are left out: esbuild's only makes its start a little faster.
  npm(['ci', '--ignore-scripts', '--no-audit', '--no-fund'], folder)
  writeFileSync(note, wanted)
}

function pack() {
  const said = npm(['pack', '--workspace', '@marea/client', '--silent', '--pack-destination', apps], root).trim()
  return join(apps, said.split('\n').at(-1))
}

function installMarea(tarball, folder) {
  const place = join(folder, 'node_modules', '@marea', 'client')
  rmSync(place, { recursive: true, force: true })
  mkdirSync(place, { recursive: true })
  // What `npm install TARBALL` does, without asking the registry about all others again.
  execFileSync('tar', ['-xzf', tarball, '-C', place, '--strip-components=1'])
  const command = join(folder, 'node_modules', '.bin', 'marea-client')
  rmSync(command, { force: true })
  symlinkSync(join(place, 'cli', 'marea-client.mjs'), command)
}

function npm(args, cwd) {
  return execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}
