// Two apps on mirrored tables that Marea has never heard of, built by Vite from the packed package and a schema module: a vocabulary
// trainer and a storeroom, each on two devices, offline and back.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { serve } from '../../demo/serve.mjs'
import { startBrowser, waitFor } from '../browser/harness.mjs'
import { startTables } from '../browser/tables-stage.mjs'
import { apps } from './install.mjs'

const run = promisify(execFile)

let stage, devices, served
before(async () => {
  stage = await startTables()
  devices = [await startBrowser(stage), await startBrowser(stage)]
  await program('vite', ['build', '--logLevel', 'warn'])
  served = await serve({ mounts: { '/': `${apps}/vite-tables/dist` } })
})
after(() => served?.stop())

/** Fails with what the program said, which `execFile` keeps apart. */
async function program(name, args) {
  const options = { cwd: `${apps}/vite-tables` }
  await run(`${apps}/node_modules/.bin/${name}`, args, options).catch((error) => {
    throw new Error(`${name} failed\n${error.stdout}${error.stderr}`)
  })
}

async function openApp(t, device, app, learner) {
  const query = new URLSearchParams({ url: stage.backend.url, anonKey: stage.backend.anon_key, userId: learner.id, token: learner.token })
  const page = await device.context.newPage()
  t.after(() => page.close().catch(() => undefined))
  page.problems = []
  page.on('pageerror', (error) => page.problems.push(error.message))
  await page.goto(`${served.url}/${app}.html?${query}`)
  await waitForText(page, 'state', 'open')
  return page
}

const waitForText = (page, id, expected) =>
  waitFor(`#${id} to be ${expected}`, () => page.locator(`#${id}`).textContent(), (seen) => seen === String(expected))

/** The network is back; a browser says so, and nobody has to touch anything. */
async function online(...pages) {
  await stage.clearFaults()
  for (const page of pages) {
    await page.evaluate(() => window.dispatchEvent(new Event('online')))
    await waitForText(page, 'pending', 0)
  }
}

/** So that a device looks at the server now, and not when it would by itself. */
const look = (page) => page.evaluate(() => window.dispatchEvent(new Event('online')))

const rows = async (sql, learner) => (await stage.database.query(sql, [learner.id])).rows

test('the schema module that is in the repository is the one that the server gives, and the apps are typed by it', async () => {
  await program('marea-client', ['schema', '--url', stage.backend.url, '--key', stage.backend.anon_key, '--out', 'src/marea.schema.ts', '--check'])
  await program('tsc', ['-p', '.'])
})

test('a vocabulary trainer', async (t) => {
  const learner = await stage.signUp()
  const [phone, laptop] = [await openApp(t, devices[0], 'words', learner), await openApp(t, devices[1], 'words', learner)]
  await stage.fault({ kind: 'offline', path: '/rest/v1/rpc/marea_sync' })
  await phone.click('#make')
  await waitForText(phone, 'lists', 'Animals')
  await waitForText(phone, 'pending', 7)
  await phone.reload()
  await waitForText(phone, 'lists', 'Animals')
  await phone.click('.list')
  await waitForText(phone, 'words', 'gato -, perro -, pez -')
  await waitForText(phone, 'due', 3)
  await online(phone)
  await look(laptop)
  await waitForText(laptop, 'lists', 'Animals')
  await laptop.click('.list')
  await waitForText(laptop, 'words', 'gato -, perro -, pez -')

  // Both offline, both at work on the same rows.
  await stage.fault({ kind: 'offline', path: '/rest/v1/rpc/marea_sync' })
  await phone.click('#see')
  await phone.click('#rename')
  await laptop.click('#see')
  await laptop.click('#translate')
  await laptop.click('#review')
  await waitForText(phone, 'list', 'Pets')
  await waitForText(laptop, 'words', 'gato cat, perro -, pez -')
  await waitForText(laptop, 'seen', 3)
  await waitForText(laptop, 'due', 0)
  await online(phone, laptop)
  await look(phone)
  for (const page of [phone, laptop]) {
    await waitForText(page, 'list', 'Pets')
    await waitForText(page, 'words', 'gato cat, perro -, pez -')
    await waitForText(page, 'seen', 6)
    await waitForText(page, 'due', 0)
    await waitForText(page, 'rejected', 0)
  }
  const there = await rows(
    `SELECT word, translation, source, times_seen, score, interval_days FROM public.vocabulary_items i
     JOIN public.word_reviews r ON r.item_id = i.id WHERE i.user_id = $1 ORDER BY word`,
    learner,
  )
  const same = { source: 'starter pack', times_seen: 2, score: '0.50', interval_days: 8 }
  assert.deepEqual(there, [
    { word: 'gato', translation: 'cat', ...same },
    { word: 'perro', translation: null, ...same },
    { word: 'pez', translation: null, ...same },
  ])

  // A list is deleted: what hangs on it goes with it, by the server's own cascade.
  await phone.click('#remove')
  await waitForText(phone, 'list', 'gone')
  await waitForText(phone, 'pending', 0)
  assert.deepEqual(await rows('SELECT word FROM public.vocabulary_items WHERE user_id = $1', learner), [])
  await look(laptop)
  await waitForText(laptop, 'list', 'gone')
  assert.deepEqual([...phone.problems, ...laptop.problems], [])
})

test('a storeroom', async (t) => {
  const learner = await stage.signUp()
  const [cellar, office] = [await openApp(t, devices[0], 'stock', learner), await openApp(t, devices[1], 'stock', learner)]
  await cellar.click('#receive')
  await waitForText(cellar, 'items', 'CELLAR-1 Cup 10')
  await waitForText(cellar, 'worth', 25)
  await waitForText(cellar, 'pending', 0)
  await look(office)
  await waitForText(office, 'items', 'CELLAR-1 Cup 10')
  await stage.fault({ kind: 'offline', path: '/rest/v1/rpc/marea_sync' })
  await cellar.click('#take')
  await cellar.click('#take')
  await office.click('#take')
  await office.click('#count')
  await waitForText(cellar, 'items', 'CELLAR-1 Cup 4')
  await waitForText(office, 'items', 'CELLAR-1 Cup, counted 7')
  await office.click('#wrong')
  const told = await waitFor('the refusal', () => office.locator('#failure').textContent(), (seen) => seen !== '')
  assert.match(told, /stock_parts\.name/)
  await online(cellar, office)
  await look(cellar)
  for (const page of [cellar, office]) await waitForText(page, 'items', 'CELLAR-1 Cup, counted 1')
  const [there] = await rows("SELECT quantity, price, encode(photo, 'hex') AS photo, serials, \"lastSeen\"::text AS seen FROM stock.parts WHERE owner = $1", learner)
  assert.deepEqual(there, { quantity: 1, price: '2.5000', photo: '010203', serials: [7, null], seen: '2026-11-23 12:00:00' })
  assert.deepEqual([...cellar.problems, ...office.problems], [])
})
