// The demo can be used by everybody: with a keyboard, a screen reader, a phone, a wide screen, without motion, in either language.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { before, test } from 'node:test'
import { serveTwo } from '../../demo/serve.mjs'
import { goTo } from '../../demo/tools/page.mjs'
import { byId, fill, startDemo } from './demo-stage.mjs'
import { waitFor } from './harness.mjs'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const PAGES = ['', 'pictures', 'pictures/harbour', 'pictures/market/questions', 'pictures/park/words', 'words', 'review', 'progress', 'history', 'exports', 'keys', 'device', 'settings', 'more']

let open, openSignedIn
before(async () => ({ open, openSignedIn } = await startDemo()))

test('a checker for accessibility finds nothing, in light and dark, English and Spanish', async (t) => {
  const { page } = await openSignedIn(t)
  await fill(page)
  await goTo(page, 'pictures', 'harbour', 'describe')
  await byId(page, 'description').fill('El faro es rojo y blanco.')
  await byId(page, 'save-description').click()
  await page.emulateMedia({ reducedMotion: 'reduce' })
  await page.evaluate(axe)
  const found = []
  for (const [language, colorScheme] of [['en', 'light'], ['en', 'dark'], ['es', 'dark'], ['es', 'light']]) {
    await page.emulateMedia({ colorScheme })
    await goTo(page, 'settings')
    await byId(page, `language-${language}`).check({ force: true })
    await waitFor('the language', () => page.evaluate(() => document.documentElement.lang), (lang) => lang === language)
    for (const path of PAGES) {
      await goTo(page, path)
      await page.locator('main h1, main [data-testid=show-answer]').first().waitFor()
      found.push(...(await violations(page, `${path} ${language} ${colorScheme}`)))
    }
    await goTo(page, '')
    await byId(page, 'log').click()
    found.push(...(await violations(page, `dialog ${language} ${colorScheme}`)))
    await page.keyboard.press('Escape')
  }
  assert.deepEqual(found, [])
})

async function violations(page, where) {
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }))
  return violations.map(({ id, nodes }) => `${where}: ${id}: ${nodes.map(({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message}`).join(' ')}`)
}

test('the entrance and the page of two devices are accessible too', async (t) => {
  const page = await open(t, '/two.html', serveTwo)
  await waitFor('both signed in', () => byId(page, 'play').isEnabled(), (ready) => ready)
  const entrance = await open(t)
  await byId(entrance, 'email').waitFor()
  for (const [shown, where] of [[page, 'two'], [entrance, 'entrance']]) {
    await shown.evaluate(axe)
    for (const colorScheme of ['light', 'dark']) {
      await shown.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      assert.deepEqual(await violations(shown, `${where} ${colorScheme}`), [])
    }
  }
})

/** Nothing is cut off or scrolls sideways, at the widths of a small phone, a tablet and a wide screen. */
async function fits(page, where) {
  for (const width of [360, 820, 1920]) {
    await page.setViewportSize({ width, height: 740 })
    const { client, scroll } = await page.evaluate(() => ({ client: document.documentElement.clientWidth, scroll: document.documentElement.scrollWidth }))
    assert.equal(scroll, client, `${where} at ${width} px`)
  }
}

test('no page is wider than its window, from a phone to a wide screen', async (t) => {
  const { page } = await openSignedIn(t)
  await fill(page)
  for (const path of PAGES) {
    await goTo(page, path)
    await page.locator('main h1').first().waitFor({ state: 'attached' })
    await fits(page, `#/${path}`)
  }
  await goTo(page, '')
  await byId(page, 'log').click()
  await byId(page, 'record').waitFor()
  await fits(page, 'the dialog')
  const entrance = await open(t)
  await byId(entrance, 'email').waitFor()
  await fits(entrance, 'the entrance')
  const two = await open(t, '/two.html', serveTwo)
  await waitFor('both signed in', () => byId(two, 'play').isEnabled(), (ready) => ready)
  await fits(two, 'two devices')
})

test('a learner signs in, studies, exports and signs out with the keyboard alone', async (t) => {
  const page = await open(t)
  const { keyboard } = page
  const focused = () =>
    page.evaluate(() => {
      const { activeElement: element } = document
      if (!element || ['BODY', 'MAIN'].includes(element.tagName)) return ''
      return [element.getAttribute('data-testid'), element.id, element.getAttribute('aria-label'), element.textContent].join(' ')
    })
  const tabTo = async (wanted, key = 'Tab') => {
    for (let presses = 0; presses < 80; presses++) {
      if ((await focused()).includes(wanted)) return
      await keyboard.press(key)
    }
    assert.fail(`nothing with ${wanted} has been reached by ${key}; at ${await focused()}`)
  }
  const press = async (wanted, key = 'Enter') => {
    await tabTo(wanted)
    await keyboard.press(key)
  }
  // A new page is gone through from its beginning.
  const arrive = async (name) => {
    await page.locator('main h1').filter({ hasText: name }).waitFor()
  }

  await byId(page, 'email').waitFor()
  await tabTo('email')
  await keyboard.type(`${randomUUID()}@example.com`)
  await tabTo('password')
  await keyboard.type(randomUUID())
  await press('sign-up')
  await byId(page, 'total-sessions').waitFor()

  await press('Pictures')
  await arrive('Pictures')
  await press('El mercado')
  await tabTo('Describe')
  await press('Words')
  await press('collect-word')
  await waitFor('the word', () => page.locator('.word-card[aria-pressed=true]').count(), (count) => count === 1)
  await press('Describe')
  await tabTo('description')
  await keyboard.type('En el mercado hay fruta.')
  await press('save-description')
  await press('Questions')
  for (let question = 0; question < 4; question++) {
    await tabTo('-option')
    await keyboard.press('Enter')
    await press('next-question')
  }
  await byId(page, 'result').waitFor()

  await press('Words')
  await press('Review')
  await byId(page, 'show-answer').waitFor()
  await keyboard.press('Space')
  await byId(page, 'grade-good').waitFor()
  await keyboard.press('3')
  await byId(page, 'review-done').waitFor()

  await press('More')
  await press('Exports')
  await arrive('Exports')
  await press('make-export')
  await byId(page, 'export').first().waitFor()
  await press('More')
  await press('Settings')
  await arrive('Settings')
  await press('sign-out')
  await byId(page, 'sign-in').waitFor()
  assert.deepEqual(page.problems, [])
})

/** How long anything that is shown would move, in seconds. */
const longestMotion = (page) =>
  page.evaluate(() =>
    Math.max(0, ...[...document.querySelectorAll('*')].flatMap((element) => {
      const { animationDuration, transitionDuration } = getComputedStyle(element)
      return `${animationDuration},${transitionDuration}`.split(',').map(Number.parseFloat)
    })),
  )

test('nothing moves for those who want no motion', async (t) => {
  const { page } = await openSignedIn(t)
  await page.emulateMedia({ reducedMotion: 'reduce' })
  for (const path of PAGES) {
    await goTo(page, path)
    await page.locator('main h1').first().waitFor({ state: 'attached' })
    assert.ok((await longestMotion(page)) < 0.001, `#/${path}`)
  }
  const two = await open(t, '/two.html', serveTwo)
  await two.emulateMedia({ reducedMotion: 'reduce' })
  await byId(two, 'play').waitFor()
  assert.ok((await longestMotion(two)) < 0.001, 'two devices')
})

test('a browser offers to install it', async (t) => {
  const page = await open(t)
  await byId(page, 'email').waitFor()
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined))
  const devtools = await page.context().newCDPSession(page)
  const { errors } = await devtools.send('Page.getAppManifest')
  assert.deepEqual(errors, [])
  const { installabilityErrors } = await devtools.send('Page.getInstallabilityErrors')
  assert.deepEqual(installabilityErrors.filter(({ errorId }) => errorId !== 'in-incognito'), [])
})
