// The documentation's site, as it was built: every link leads somewhere, a phone shows it without scrolling sideways, a checker of
// accessibility finds nothing, and the search finds what is there.

import assert from 'node:assert/strict'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, normalize } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { serve } from '../../demo/serve.mjs'
import { makeProfile, startChromium } from '../../demo/tools/chromium.mjs'

const site = fileURLToPath(new URL('../../target/site/dist', import.meta.url))
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const PAGES = ['index', 'README', 'wasm/README', 'docs/TABLES', 'docs/PROTOCOL', 'docs/migrations/DEPLOY', 'docs/adr/README', 'reference/sql', 'reference/typescript/modules', 'demo']

const html = (page) => readFileSync(join(site, page), 'utf8')
const every = readdirSync(site, { recursive: true }).filter((name) => name.endsWith('.html'))

test('every link of every page leads to a page and to a place in it', () => {
  const ids = new Map(every.map((page) => [page, new Set([...html(page).matchAll(/ id="([^"]+)"/g)].map(([, id]) => id))]))
  const wrong = []
  for (const page of every) {
    for (const [, href] of html(page).matchAll(/<a [^>]*href="([^"]+)"/g)) {
      if (/^[a-z]+:/.test(href)) continue
      const [path, anchor] = href.replaceAll('&amp;', '&').split('#').map(decodeURIComponent)
      const meant = path === '' ? page : normalize(path.startsWith('/') ? path.slice(1) : join(dirname(page), path)).replace(/^$|\/$/, '$&index.html').replace(/^\.?\/?index\.html$/, 'index.html')
      const target = existsSync(join(site, meant)) ? meant : `${meant}.html`
      if (!existsSync(join(site, target))) wrong.push(`${page}: ${href}`)
      else if (anchor && ids.has(target) && !ids.get(target).has(anchor)) wrong.push(`${page}: ${href}, no such place`)
    }
  }
  assert.ok(every.length > 50, `${every.length} pages`)
  assert.deepEqual(wrong, [])
})

const profile = makeProfile()
let browser, context, served
before(async () => {
  browser = await startChromium(profile, { ownGroup: true })
  // The builder writes a small script into each page, which the test server's policy would not let run.
  context = await browser.context.browser().newContext({ bypassCSP: true })
  served = await serve({ mounts: { '/': site }, policy: "frame-ancestors 'self'" })
})

after(async () => {
  await served?.stop()
  await browser?.stop()
  profile.remove()
})

for (const page of PAGES) {
  test(`${page}: on a phone and on a desk, light and dark`, async (t) => {
    const tab = await context.newPage()
    t.after(() => tab.close())
    const problems = []
    tab.on('pageerror', (error) => problems.push(error.message))
    for (const [width, colorScheme] of [[360, 'light'], [1280, 'dark']]) {
      await tab.setViewportSize({ width, height: 800 })
      await tab.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      await tab.goto(`${served.url}/${page}.html`)
      await tab.locator('h1').first().waitFor()
      const overflow = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      assert.equal(overflow, 0, `${width} px wide: ${overflow} px too much`)
      await tab.evaluate(axe)
      const { violations } = await tab.evaluate(() => window.axe.run())
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), [], `${width}, ${colorScheme}`)
    }
    assert.deepEqual(problems, [])
  })
}

test('the demo runs on its page, without a server, and keeps what was done', async (t) => {
  const tab = await context.newPage()
  t.after(() => tab.close())
  const open = async () => {
    await tab.goto(`${served.url}/demo.html`)
    const app = tab.frameLocator('.demo iframe')
    await app.getByTestId('total-sessions').waitFor()
    return app
  }
  const app = await open()
  await app.locator('html').evaluate(() => void (location.hash = '#/pictures/harbour/words'))
  await app.getByTestId('collect-all').click()
  await app.locator('.word-card[aria-pressed=true]').nth(7).waitFor()
  await (await open()).locator('html').evaluate(() => void (location.hash = '#/pictures/harbour/words'))
  await app.locator('.word-card[aria-pressed=true]').nth(7).waitFor()
})

test('the search finds a function of the SQL and a section of a guide', async (t) => {
  const tab = await context.newPage()
  t.after(() => tab.close())
  await tab.goto(`${served.url}/index.html`)
  for (const [words, address] of [['mirror_existing', /mirror_existing|TABLES/i], ['airplane mode', /typescript|WEB|README/]]) {
    await tab.keyboard.press('Control+k')
    await tab.locator('#localsearch-input').fill(words)
    const first = tab.locator('.result').first()
    await first.waitFor()
    assert.match(await first.getAttribute('href'), address)
    await tab.keyboard.press('Escape')
  }
})
