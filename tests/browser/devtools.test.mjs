// The developer tools, on a real mirror: everything is reached with the keyboard, a checker for accessibility finds nothing, and what
// is shown is what the mirror says.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { inPostgres, record, startBrowser, status, sync, waitFor } from './harness.mjs'
import { openTab, startTables, table } from './tables-stage.mjs'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

let stage, browser
before(async () => {
  stage = await startTables()
  browser = await startBrowser(stage)
  await browser.context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: stage.pageUrl })
  await stage.database.query(`
    CREATE FUNCTION public.refuse_long() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN IF NEW.duration_minutes = 77 THEN RAISE 'too long for this app'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER refuse_long BEFORE INSERT ON public.sessions FOR EACH ROW EXECUTE FUNCTION public.refuse_long()`)
})

async function openTools(t, options = {}) {
  const learner = await stage.signUp()
  const page = await openTab(t, browser, stage, learner, options)
  await page.evaluate(async () => {
    const { mountDevtools } = await import('/marea/devtools.js')
    window.unmount = mountDevtools(window.marea, { open: true })
  })
  return { page, learner, tools: page.locator('marea-devtools') }
}

const choose = (tools, name) => tools.getByRole('tab', { name }).click()
const fact = (tools, name) => tools.locator(`dt:text-is("${name}") + dd`).textContent()
const said = (tools) => tools.getByRole('status').textContent()

async function violations(page) {
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => window.axe.run('marea-devtools'))
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
}

test('the status is the mirror\'s, and the switch is airplane mode', async (t) => {
  const { page, tools } = await openTools(t)
  await sync(page)
  await waitFor('the status', () => fact(tools, 'Connection'), (text) => text === 'online')
  assert.equal(await fact(tools, 'Leader'), 'this tab')
  assert.equal(await fact(tools, 'Storage'), 'opfs')
  await tools.getByLabel('Network').uncheck()
  await waitFor('airplane mode', () => status(page), ({ paused }) => paused === true)
  await record(page)
  await waitFor('the number that wait', () => fact(tools, 'Waiting'), (text) => text === '1')
  assert.equal(await fact(tools, 'Connection'), 'switched off here')
  // The app's own call moves the switch too.
  await page.evaluate(() => window.marea.setOnline(true))
  await waitFor('the switch', () => tools.getByLabel('Network').isChecked(), (checked) => checked)
  await waitFor('all sent', () => fact(tools, 'Waiting'), (text) => text === '0')
})

test('what waits and what was refused is listed, retried and discarded', async (t) => {
  const { page, learner, tools } = await openTools(t)
  await choose(tools, 'Queue')
  const refused = await record(page, { session_type: 'qa', duration_minutes: 77 })
  await sync(page)
  await tools.getByText('too long for this app').waitFor()
  await tools.getByRole('button', { name: 'Retry', exact: true }).click()
  await waitFor('it is told', () => said(tools), (text) => text === 'Queued again')
  await sync(page)
  await tools.getByText('too long for this app').waitFor()
  await tools.getByRole('button', { name: 'Discard', exact: true }).click()
  await tools.getByText('Nothing was refused.').waitFor()
  assert.deepEqual(await page.evaluate(() => window.marea.rejected()), [])
  assert.deepEqual((await inPostgres(stage, learner)).ids.includes(refused.id), false)
})

test('exchanges are listed with their bytes, and the tables with their rows', async (t) => {
  const { page, tools } = await openTools(t)
  await sync(page)
  await table(page, 'word_lists', 'insert', { title: 'Kitchen' })
  await sync(page)
  await choose(tools, 'Syncs')
  await waitFor('two exchanges', () => tools.locator('tbody tr').count(), (count) => count >= 2)
  assert.match(await tools.locator('tbody tr').first().textContent(), /ok1.*B/)
  await choose(tools, 'Tables')
  const row = tools.locator('tr', { hasText: 'word_lists' })
  await waitFor('the row is counted', () => row.first().locator('td').nth(1).textContent(), (text) => text === '1')
  await table(page, 'word_lists', 'insert', { title: 'Garden' })
  await waitFor('the next one too', () => row.first().locator('td').nth(1).textContent(), (text) => text === '2')
})

test('files of exports are listed, held back and let go', async (t) => {
  const { page, tools } = await openTools(t)
  await sync(page)
  await page.evaluate(() => window.marea.setOnline(false))
  const { id } = await page.evaluate(() =>
    window.marea.createExport({ export_type: 'photos', export_format: 'zip', file: new Blob([new Uint8Array(5_000)]) }),
  )
  await choose(tools, 'Files')
  const row = tools.locator('tbody tr', { hasText: id })
  await waitFor('the file', () => row.textContent(), (text) => text.includes('waiting') && text.includes('0 B of 5.0 kB'))
  await tools.getByRole('button', { name: 'Hold back' }).click()
  await waitFor('it is held back', () => row.textContent(), (text) => text.includes('held back'))
  await tools.getByRole('button', { name: 'Go on' }).click()
  await page.evaluate(() => window.marea.setOnline(true))
  await waitFor('the file is there', () => row.textContent(), (text) => text.includes('uploaded') && text.includes('5.0 kB of 5.0 kB'))
})

test('SQL is read only, and says what is wrong with it', async (t) => {
  const { page, tools } = await openTools(t)
  await record(page)
  await choose(tools, 'Tables')
  const box = tools.getByLabel('SQL: one SELECT, read only')
  await box.fill('SELECT total_sessions * 3 AS thrice FROM user_progress')
  await box.press('Control+Enter')
  await waitFor('the result', () => said(tools), (text) => /^1 row in/.test(text))
  assert.equal(await tools.locator('table', { hasText: 'thrice' }).locator('td').textContent(), '3')
  for (const bad of ['DELETE FROM user_progress', 'SELECT * FROM mutations', 'SELECT']) {
    await box.fill(bad)
    await box.press('Control+Enter')
    await tools.locator('.bad').waitFor()
    assert.notEqual(await tools.locator('.bad').textContent(), '', bad)
  }
})

test('the diagnostics are copied without anything that a learner did', async (t) => {
  const { page, tools } = await openTools(t)
  await sync(page)
  await page.evaluate(() => window.marea.setOnline(false))
  await table(page, 'word_lists', 'insert', { title: 'my secret list' })
  await record(page, { session_type: 'qa', duration_minutes: 42 })
  await tools.getByRole('button', { name: 'Copy diagnostics' }).click()
  await waitFor('it is told', () => said(tools), (text) => text === 'Diagnostics copied')
  const copied = await page.evaluate(() => navigator.clipboard.readText())
  assert.equal(JSON.parse(copied).status.storage, 'opfs')
  assert.doesNotMatch(copied, /secret list|session_type/)
})

test('the keyboard reaches everything, and a checker of accessibility finds nothing', async (t) => {
  const { page, tools } = await openTools(t)
  await record(page)
  const chosen = () => tools.locator('[aria-selected=true]').textContent()
  assert.equal(await chosen(), 'Status')
  for (const [key, name] of [['ArrowRight', 'Queue'], ['End', 'Files'], ['ArrowRight', 'Status'], ['ArrowLeft', 'Files'], ['Home', 'Status']]) {
    await page.keyboard.press(key)
    assert.equal(await chosen(), name)
  }
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme })
    for (const name of ['Status', 'Queue', 'Syncs', 'Tables', 'Files']) {
      await choose(tools, name)
      await tools.getByRole('tabpanel', { name }).locator('dl, table, .empty').first().waitFor()
      assert.deepEqual(await violations(page), [], `${name}, ${scheme}`)
    }
  }
  await page.keyboard.press('Escape')
  const opener = tools.getByRole('button', { name: /Marea/ })
  assert.equal(await opener.getAttribute('aria-expanded'), 'false')
  assert.deepEqual(await violations(page), [])
  await page.keyboard.press('Enter')
  assert.equal(await chosen(), 'Files')
  await page.evaluate(() => window.unmount())
  assert.equal(await tools.count(), 0)
})

test('whichever mirror a page opens last is shown, and one that was closed says so', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await page.evaluate(async () => {
    const { mountDevtoolsOnOpen } = await import('/marea/devtools.js')
    mountDevtoolsOnOpen()
  })
  const tools = page.locator('marea-devtools')
  const open = (learner) =>
    page.evaluate(([url, publishableKey, userId]) => window.openMarea({ url, publishableKey, userId, online: false }), [
      stage.backend.url,
      stage.backend.anon_key,
      learner.id,
    ])
  await open(learner)
  await record(page)
  await tools.getByText('1 waiting').waitFor()
  await page.evaluate(() => window.marea.close())
  await open(await stage.signUp())
  await record(page)
  await record(page)
  await tools.getByText('2 waiting').waitFor()
  assert.equal(await tools.count(), 1)
  assert.deepEqual(page.problems, [])
})

test("an account's mirror stays shown while a guest's work is brought into it", async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await page.evaluate(async () => {
    const { mountDevtoolsOnOpen } = await import('/marea/devtools.js')
    mountDevtoolsOnOpen({ open: true })
  })
  const tools = page.locator('marea-devtools')
  const open = (options) =>
    page.evaluate((options) => window.openMarea(options), {
      url: stage.backend.url,
      publishableKey: stage.backend.anon_key,
      online: false,
      ...options,
    })
  const claims = async () => {
    await open({ userId: null })
    await record(page)
    await waitFor("the guest's mirror is shown", () => fact(tools, 'Waiting'), (text) => text === '1')
    await page.evaluate(() => window.marea.close())
  }
  await claims()
  await open({ userId: learner.id, claimGuest: true })
  await waitFor('what was claimed', () => fact(tools, 'Waiting'), (text) => text === '1')
  await record(page)
  await waitFor('it follows', () => fact(tools, 'Waiting'), (text) => text === '2')
  await page.evaluate(() => window.marea.close())
  // Claimed later, by the app's own call.
  await claims()
  await open({ userId: learner.id })
  await page.evaluate(() => window.marea.claim())
  await waitFor('what was claimed later', () => fact(tools, 'Waiting'), (text) => text === '3')
})

test('tables that are learned while the panel is open are listed', async (t) => {
  const { page, tools } = await openTools(t, { online: false })
  await choose(tools, 'Tables')
  await tools.locator('tr', { hasText: 'export_history' }).first().waitFor()
  assert.equal(await tools.locator('tr', { hasText: 'word_lists' }).count(), 0)
  await page.evaluate(() => window.marea.setOnline(true))
  await tools.locator('tr', { hasText: 'word_lists' }).first().waitFor()
})

test('a panel that was asked for twice stays until both have taken it away, and shows whose is left', async (t) => {
  const { page, tools } = await openTools(t)
  await record(page)
  await waitFor('the first mirror', () => fact(tools, 'Waiting'), (text) => text !== undefined)
  await page.evaluate(async () => {
    const { mountDevtools } = await import('/marea/devtools.js')
    window.first = window.marea
    window.again = mountDevtools(window.marea)
  })
  await page.evaluate(() => window.again())
  assert.equal(await tools.count(), 1)
  await page.evaluate(() => window.again())
  assert.equal(await tools.count(), 1, 'once more takes nothing away')
  const other = await stage.signUp()
  const options = { url: stage.backend.url, publishableKey: stage.backend.anon_key, userId: other.id, online: false }
  await page.evaluate(async (options) => {
    await window.openMarea(options)
    const { mountDevtools } = await import('/marea/devtools.js')
    window.other = mountDevtools(window.marea)
  }, options)
  const shows = (who) => page.evaluate((who) => document.querySelector('marea-devtools').marea === window[who], who)
  assert.equal(await shows('marea'), true)
  await page.evaluate(() => window.other())
  assert.equal(await shows('first'), true)
  await page.evaluate(() => window.unmount())
  assert.equal(await tools.count(), 0)
})
