// Builds the documentation's site: `node build.mjs`. What it shows is in docs/ and in the sources; nothing is written for it alone but
// its first page. The pages are put together in target/site/pages, the site is in target/site/dist.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { siteText } from './links.mjs'
import { sqlReference } from './sql.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = join(here, '..')
const out = join(root, 'target', 'site')
const pages = join(out, 'pages')

const run = (program, ...args) => execFileSync(process.execPath, [join(here, 'node_modules', program), ...args], { cwd: here, stdio: 'inherit' })

install()
rmSync(out, { recursive: true, force: true })
mkdirSync(pages, { recursive: true })

const kept = ['README.md', 'wasm/README.md', 'SECURITY.md', 'CHANGELOG.md', 'CONTRIBUTING.md', ...markdownBelow('docs')]
const texts = new Map()
for (const path of kept) {
  const text = readIfThere(path)
  if (text !== null) texts.set(path, text)
}
for (const [path, text] of texts) writePage(path, siteText(path, text, new Set(texts.keys()), root))
for (const name of ['index.md', 'demo.md']) writePage(name, readFileSync(join(here, name), 'utf8'))
for (const name of readdirSync(join(root, 'docs')).filter((name) => /\.(png|gif|webp|svg)$/.test(name))) cpSync(join(root, 'docs', name), join(pages, 'docs', name))

writePage('reference/sql.md', sqlReference(join(root, 'migrations', 'source')))
run('typedoc/bin/typedoc', '--options', join(here, 'typedoc.json'), '--out', join(pages, 'reference', 'typescript'))

for (const path of markdownBelow(relative(root, join(pages, 'reference', 'typescript')))) mendAnchors(join(root, path))

// What the pages import is installed here.
symlinkSync(join(here, 'node_modules'), join(pages, 'node_modules'))
cpSync(join(here, 'config.mjs'), join(pages, '.vitepress', 'config.mjs'))
cpSync(join(here, 'theme'), join(pages, '.vitepress', 'theme'), { recursive: true })
run('vitepress/bin/vitepress.js', 'build', pages, '--outDir', join(out, 'dist'))
buildDemo(join(out, 'dist', 'demo'))

/** The demo without a server. It has neither a configuration nor two devices. */
function buildDemo(folder) {
  const vite = join(root, 'node_modules', 'vite', 'bin', 'vite.js')
  const options = ['--mode', 'site', '--base', './', '--outDir', folder, '--logLevel', 'warn']
  execFileSync(process.execPath, [vite, 'build', ...options], { cwd: join(root, 'demo'), stdio: 'inherit' })
  for (const name of ['two.html', 'two.html.br', 'index.html.br']) rmSync(join(folder, name), { force: true })
  const index = join(folder, 'index.html')
  writeFileSync(index, readFileSync(index, 'utf8').replace(/^.*config\.json.*\n/m, ''))
}

/** What the lock file fixes, unless it is there already. */
function install() {
  const wanted = createHash('sha256').update(readFileSync(join(here, 'package-lock.json'))).digest('hex')
  const note = join(here, 'node_modules', '.installed')
  if (readIfThere(relative(root, note)) === wanted) return
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: here, stdio: 'inherit' })
  writeFileSync(note, wanted)
}

function markdownBelow(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .sort()
}

/** The generator of the reference counts some headings twice that its page has once. */
function mendAnchors(file) {
  const text = readFileSync(file, 'utf8')
  const headings = [...text.matchAll(/^#+ (\w+)$/gm)].map(([, heading]) => heading.toLowerCase())
  const once = (name) => headings.filter((heading) => heading === name).length === 1
  writeFileSync(file, text.replace(/\(#(\w+)-1\)/g, (whole, name) => (once(name) ? `(#${name})` : whole)))
}

function readIfThere(path) {
  try {
    return readFileSync(join(root, path), 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return null
    throw error
  }
}

function writePage(path, text) {
  const file = join(pages, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}
