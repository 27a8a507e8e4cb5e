// The packed package built by every other bundler that people use, in its plainest form: the worker and the module are found, in the build and,
// for Vite, on the development server. One small source, two builds at a time.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { before, test } from 'node:test'
import { bin, build, buildNext, ownProblems, serveFolder, setTheStage, startNext, startVite, waitForText } from './drive.mjs'
import { apps } from './install.mjs'

// Which Next, and the folder of its app. What Next 16 makes of the app by itself, with Turbopack, is in apps.test.mjs.
const NEXTS = {
  15: [`${apps}/older/node_modules/next`, 'older/next-app-router'],
  16: [`${apps}/node_modules/next`, 'next-16'],
}
// Next 15 takes webpack unless it is told otherwise, Next 16 Turbopack.
const nextFlags = (version, bundler) => (bundler === (version === '15' ? 'webpack' : 'turbopack') ? [] : [`--${bundler}`])
const next = (version, bundler) => () => buildNext(...NEXTS[version], nextFlags(version, bundler), `.next-${bundler}`)

/** With the page of all of them, for bundlers that make none. */
async function bundled(name, program, args) {
  await build(program, args, 'bundlers')
  await copyFile(`${apps}/bundlers/index.html`, `${apps}/bundlers/dist/${name}/index.html`)
}

// Vite 8 with React is in apps.test.mjs.
const ofVite = (version) => (version === 7 ? 'older/' : '')
const vite = (version, app) => build(`${apps}/${ofVite(version)}node_modules/.bin/vite`, ['build', '--logLevel', 'warn'], `${ofVite(version)}${app}`)

// The longest first.
const BUILDS = {
  'next 16, webpack': next('16', 'webpack'),
  'next 15, webpack': next('15', 'webpack'),
  'next 15, turbopack': next('15', 'turbopack'),
  webpack: () => bundled('webpack', bin('webpack'), ['--env', 'out=webpack']),
  parcel: () => build(bin('parcel'), ['build', 'parcel/index.html', '--dist-dir', 'dist/parcel', '--no-cache', '--no-source-maps'], 'bundlers'),
  rspack: () => bundled('rspack', bin('rspack'), ['build', '--config', 'webpack.config.mjs', '--env', 'out=rspack']),
  rollup: () => bundled('rollup', bin('rollup'), ['-c', 'rollup.config.mjs', '--silent']),
  'vite 8, svelte': () => vite(8, 'vite-svelte'),
  'vite 8, vue': () => vite(8, 'vite-vue'),
  'vite 7, svelte': () => vite(7, 'vite-svelte'),
  'vite 7, vue': () => vite(7, 'vite-vue'),
  'vite 7, react': () => vite(7, 'vite-react'),
}

let stage
const built = new Map()
before(async () => {
  const waiting = Object.entries(BUILDS)
  const outcomes = waiting.map(([name]) => {
    let settle
    const outcome = new Promise((resolve, reject) => (settle = { resolve, reject }))
    outcome.catch(() => undefined)
    built.set(name, outcome)
    return settle
  })
  const work = async () => {
    while (waiting.length > 0) {
      const [, start] = waiting.shift()
      const { resolve, reject } = outcomes.shift()
      await start().then(resolve, reject)
    }
  }
  void work()
  void work()
  stage = await setTheStage()
})

async function works(t, url) {
  const learner = await stage.signUp()
  const address = stage.address(url, learner)
  // A development server compiles when it is asked, which may take longer than a browser waits.
  assert.equal((await fetch(address)).status, 200)
  const page = await stage.openPage(t, address)
  await stage.recordsAndSyncs(page, learner)
  assert.deepEqual(ownProblems(page), [])
}

for (const name of ['webpack', 'rspack', 'rollup']) {
  test(`${name}: the build`, async (t) => {
    await built.get(name)
    await works(t, await serveFolder(`${apps}/bundlers/dist/${name}`))
  })
}

test('Parcel: the build, under a policy that lets its import map in', async (t) => {
  await built.get('parcel')
  const folder = `${apps}/bundlers/dist/parcel`
  const page = await readFile(`${folder}/index.html`, 'utf8')
  const [, map] = /<script type="?importmap"?>(.*?)<\/script>/s.exec(page)
  const hash = createHash('sha256').update(map).digest('base64')
  await works(t, await serveFolder(folder, `default-src 'self'; script-src 'self' 'wasm-unsafe-eval' 'sha256-${hash}'; connect-src 'self' http:; img-src data:`))
})

for (const [version, framework, develops] of [
  [8, 'svelte', true],
  [8, 'vue', false],
  [7, 'svelte', false],
  [7, 'vue', true],
  [7, 'react', false],
]) {
  const [name, app] = [`vite ${version}, ${framework}`, `${ofVite(version)}vite-${framework}`]
  test(`${name}: the build`, async (t) => {
    await built.get(name)
    await works(t, await serveFolder(`${apps}/${app}/dist`))
  })

  if (develops) {
    test(`${name}: the development server`, async (t) => {
      await built.get(name)
      await works(t, await startVite(`${apps}/${ofVite(version)}node_modules/vite/bin/vite.js`, app))
    })
  }
}

test('the service worker of docs/BUNDLERS.md, with the list of files that its script makes, starts an app without a network', async (t) => {
  await built.get('vite 8, svelte')
  const app = `${apps}/vite-svelte`
  const text = await readFile(new URL('../../docs/BUNDLERS.md', import.meta.url), 'utf8')
  const blocks = [...text.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code)
  await writeFile(`${app}/sw.js`, blocks.find((code) => code.includes("addEventListener('fetch'")))
  await writeFile(`${app}/precache.mjs`, blocks.find((code) => code.includes('precache.mjs')))
  await build(process.execPath, ['precache.mjs'], 'vite-svelte')
  const learner = await stage.signUp()
  const page = await stage.openPage(t, stage.address(await serveFolder(`${app}/dist`), learner))
  await page.evaluate(async () => {
    await navigator.serviceWorker.register('/sw.js')
    await navigator.serviceWorker.ready
  })
  await waitForText(page, 'state', 'open')
  await page.context().setOffline(true)
  t.after(() => page.context().setOffline(false))
  await page.reload()
  await waitForText(page, 'state', 'open')
  await page.click('#record')
  await waitForText(page, 'sessions', 1)
})

for (const [version, bundler] of [
  ['15', 'webpack'],
  ['15', 'turbopack'],
  ['16', 'webpack'],
  ['16', 'turbopack'],
]) {
  const name = `next ${version}, ${bundler}`
  if (name in BUILDS) {
    test(`Next ${version}, ${bundler}: the build`, async (t) => {
      await built.get(name)
      await works(t, await startNext(...NEXTS[version], ['start'], `.next-${bundler}`))
    })
  }

  // With Turbopack the worker comes from a blob there.
  test(`Next ${version}, ${bundler}: the development server`, async (t) => {
    await built.get(name)
    await works(t, await startNext(...NEXTS[version], ['dev', ...nextFlags(version, bundler)], `.next-dev-${bundler}`))
  })
}
