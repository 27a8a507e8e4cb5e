// The demo as an app: what a learner does in it, without a network and with one, on one device and on two.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterEach, before, test } from 'node:test'
import { serveTwo } from '../../demo/serve.mjs'
import { goTo, recordSession, setAirplane, signOut, signUp, waitForPage } from '../../demo/tools/page.mjs'
import { byId, root, startDemo } from './demo-stage.mjs'
import { waitFor } from './harness.mjs'

let stage, open, openSignedIn
before(async () => ({ stage, open, openSignedIn } = await startDemo()))
afterEach(() => stage.clearFaults())

const rows = async (sql, learner) => (await stage.database.query(sql, [learner])).rows
const settled = (page, count) => waitFor('the queue', () => byId(page, 'pending').textContent(), (text) => text === String(count))

test('the schema module is what the server says', () => {
  const { url, anon_key: key } = stage.backend
  const command = [`${root}wasm/cli/marea-client.mjs`, 'schema', '--url', url, '--key', key, '--out', `${root}demo/src/marea.schema.ts`, '--check']
  execFileSync(process.execPath, command, { stdio: 'pipe' })
})

test('a whole lesson without a network, and all of it on the server afterwards', async (t) => {
  const { page, learner } = await openSignedIn(t)
  await setAirplane(page, true)

  await goTo(page, 'pictures', 'harbour', 'words')
  await byId(page, 'collect-word').first().click()
  await byId(page, 'collect-all').click()
  await waitFor('all words taken', () => page.locator('.word-card[aria-pressed=true]').count(), (count) => count === 8)

  await goTo(page, 'pictures', 'harbour', 'describe')
  await byId(page, 'description').fill('Hay un faro y dos barcos en el mar.')
  assert.match(await page.locator('#words-used').innerText(), /3 of 8/)
  await byId(page, 'save-description').click()

  await goTo(page, 'pictures', 'harbour', 'questions')
  await byId(page, 'wrong-option').first().click()
  await byId(page, 'next-question').click()
  for (let question = 1; question < 4; question++) {
    await byId(page, 'right-option').click()
    await byId(page, 'next-question').click()
  }
  await byId(page, 'result').waitFor()

  await goTo(page, 'review')
  // One is not known at first and comes once more; all others are.
  for (const grade of ['again', ...Array(8).fill('good')]) {
    await byId(page, 'show-answer').click()
    await byId(page, `grade-${grade}`).click()
  }
  await byId(page, 'review-done').click()

  await byId(page, 'list').click()
  await byId(page, 'word').fill('la brújula')
  await byId(page, 'meaning').fill('the compass')
  await byId(page, 'add-word').click()
  await waitFor('the word', () => byId(page, 'word-row').count(), (count) => count === 9)

  await goTo(page, 'history')
  await byId(page, 'text').getByRole('button', { name: 'Edit' }).click()
  await page.getByRole('textbox', { name: 'Text' }).fill('Hay un faro rojo y dos barcos en el mar.')
  await page.getByRole('button', { name: 'Save' }).click()
  await waitFor('the correction', () => page.locator('.text-body').innerText(), (text) => text.includes('rojo'))

  await goTo(page, 'settings')
  await byId(page, 'goal').selectOption('30')

  // Nothing of it depends on this visit.
  await goTo(page, '')
  await page.reload()
  await waitForPage(page, { sessions: 3, words: 8, accuracy: 75, state: 'offline' })
  await setAirplane(page, false)
  await waitForPage(page, { sessions: 3, pending: 0, state: 'synced' })

  const words = await rows('SELECT word, meaning, picture, times_seen, times_right, interval_days FROM words WHERE user_id = $1 ORDER BY times_seen DESC, word', learner)
  assert.equal(words.length, 9)
  assert.deepEqual(words.map(({ times_seen }) => times_seen), [2, 1, 1, 1, 1, 1, 1, 1, 0])
  assert.deepEqual(words.map(({ times_right }) => times_right), [1, 1, 1, 1, 1, 1, 1, 1, 0])
  assert.deepEqual(words[8], { word: 'la brújula', meaning: 'the compass', picture: null, times_seen: 0, times_right: 0, interval_days: 0 })
  assert.deepEqual(await rows('SELECT title, language FROM word_lists WHERE user_id = $1', learner), [{ title: 'El puerto', language: 'es' }])
  assert.deepEqual(await rows('SELECT picture, body FROM descriptions WHERE user_id = $1', learner), [{ picture: 'harbour', body: 'Hay un faro rojo y dos barcos en el mar.' }])
  assert.deepEqual(await rows('SELECT daily_minutes FROM learner_settings WHERE user_id = $1', learner), [{ daily_minutes: 30 }])

  // What is deleted is gone on the server too, with all that hangs on it.
  await goTo(page, 'words')
  await byId(page, 'list').click()
  await page.getByRole('button', { name: 'Delete list' }).click()
  await page.getByRole('group').getByRole('button', { name: 'Delete', exact: true }).click()
  await settled(page, 0)
  await waitFor('no words', () => rows('SELECT id FROM words WHERE user_id = $1', learner), (left) => left.length === 0)
  assert.deepEqual(page.problems, [])
})

test('what a guest does comes along at the first sign-in, once', async (t) => {
  const page = await open(t)
  await byId(page, 'guest').click()
  await byId(page, 'total-sessions').waitFor()
  await recordSession(page, { kind: 'qa', minutes: 20, descriptions: 0, questions: 8, correct: 6, words: 0 })
  await goTo(page, 'pictures', 'harbour', 'words')
  await byId(page, 'collect-all').click()
  await waitFor('all words taken', () => page.locator('.word-card[aria-pressed=true]').count(), (count) => count === 8)
  await goTo(page, 'keys')
  await page.getByText('This needs an account').waitFor()
  await signOut(page)
  const account = { email: `${randomUUID()}@example.com`, password: randomUUID() }
  await signUp(page, account)
  await waitForPage(page, { sessions: 1, words: 0, pending: 0, state: 'synced' })
  const { rows } = await stage.database.query(
    'SELECT (SELECT count(*)::int FROM words w WHERE w.user_id = u.id) AS words, (SELECT count(*)::int FROM sessions s WHERE s.user_id = u.id) AS sessions FROM auth.users u WHERE u.email = $1',
    [account.email],
  )
  assert.deepEqual(rows, [{ words: 8, sessions: 1 }])
  assert.deepEqual(page.problems, [])
})

test('an export is made without a network, and downloaded', async (t) => {
  const { page, learner } = await openSignedIn(t)
  await setAirplane(page, true)
  await goTo(page, 'pictures', 'kitchen', 'words')
  await byId(page, 'collect-all').click()
  await goTo(page, 'exports')
  await byId(page, 'make-export').click()
  const [download] = await Promise.all([page.waitForEvent('download'), byId(page, 'download').click()])
  assert.match(download.suggestedFilename(), /^marea-words-.*\.csv$/)
  const lines = readFileSync(await download.path(), 'utf8').trim().split('\r\n')
  assert.match(lines[0], /id,list_id,word,meaning,picture,times_seen,times_right/)
  assert.equal(lines.length, 9)
  assert.equal(await byId(page, 'export').getAttribute('data-sent'), 'false')
  await setAirplane(page, false)
  await waitFor('the file to be sent', () => byId(page, 'export').getAttribute('data-sent'), (sent) => sent === 'true')
  await settled(page, 0)
  const made = await rows('SELECT export_type, export_format, status, records_count, file_url FROM export_history WHERE user_id = $1', learner)
  assert.equal(made.length, 1)
  assert.match(made[0].file_url, new RegExp(`^storage://marea-exports/${learner}/`))
  assert.deepEqual([made[0].export_type, made[0].export_format, made[0].status, made[0].records_count], ['words', 'csv', 'completed', 8])
  assert.deepEqual(page.problems, [])
})

test('a file that waits is held back and sent by hand', async (t) => {
  const { page } = await openSignedIn(t)
  await goTo(page, 'exports')
  await stage.fault({ kind: 'status', path: '/storage/v1/object', status: 503, times: 1_000 })
  await byId(page, 'make-export').click()
  await byId(page, 'pause-file').click()
  await waitFor('it to be held back', () => byId(page, 'export').innerText(), (text) => text.includes('held back'))
  await stage.clearFaults()
  await byId(page, 'pause-file').click()
  await waitFor('the file to be sent', () => byId(page, 'export').getAttribute('data-sent'), (sent) => sent === 'true')
  assert.equal(await byId(page, 'pause-file').count(), 0)
  assert.deepEqual(page.problems, [])
})

test('past sessions are corrected and deleted without a network, and the totals follow on every side', async (t) => {
  const { page, learner } = await openSignedIn(t)
  await recordSession(page, { kind: 'qa', minutes: 20, descriptions: 0, questions: 8, correct: 4, words: 0 })
  await settled(page, 0)
  await setAirplane(page, true)
  // One by mistake, which nobody has been sent.
  await recordSession(page, { kind: 'vocabulary', minutes: 30, descriptions: 0, questions: 0, correct: 0, words: 12 })
  await waitForPage(page, { sessions: 2, words: 12, accuracy: 50, state: 'offline' })
  await goTo(page, 'history')
  const past = byId(page, 'session')
  await waitFor('both sessions', () => past.count(), (count) => count === 2)
  await past.filter({ hasText: '30 min' }).getByRole('button', { name: /^Delete/ }).click()
  await page.getByRole('group').getByRole('button', { name: 'Delete', exact: true }).click()
  await waitFor('one session', () => past.count(), (count) => count === 1)
  await settled(page, 0)

  await past.getByRole('button', { name: /^Edit/ }).click()
  await byId(page, 'correct-qa_correct').fill('9')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText('There cannot be more correct answers than questions.').waitFor()
  await byId(page, 'correct-qa_correct').fill('6')
  await byId(page, 'correct-duration_minutes').fill('25')
  await page.getByRole('button', { name: 'Save' }).click()
  await waitFor('the correction', () => past.innerText(), (text) => text.includes('25 min') && text.includes('6 of 8 right'))
  await goTo(page, '')
  await page.reload()
  await waitForPage(page, { sessions: 1, words: 0, accuracy: 75, state: 'offline' })
  await setAirplane(page, false)
  await waitForPage(page, { sessions: 1, pending: 0, state: 'synced' })
  const of = 'SELECT duration_minutes, qa_attempts, qa_correct FROM sessions WHERE user_id = $1'
  assert.deepEqual(await rows(of, learner), [{ duration_minutes: 25, qa_attempts: 8, qa_correct: 6 }])
  const totals = 'SELECT total_sessions, total_time_spent_minutes, total_vocabulary_learned FROM user_progress WHERE user_id = $1'
  assert.deepEqual(await rows(totals, learner), [{ total_sessions: 1, total_time_spent_minutes: 25, total_vocabulary_learned: 0 }])

  // The server has it by now: its deletion is sent.
  await goTo(page, 'history')
  await past.getByRole('button', { name: /^Delete/ }).click()
  await page.getByRole('group').getByRole('button', { name: 'Delete', exact: true }).click()
  await waitFor('no session', () => rows(of, learner), (left) => left.length === 0)
  await goTo(page, '')
  await waitForPage(page, { sessions: 0, pending: 0, state: 'synced' })
  assert.deepEqual(page.problems, [])
})

test('a key is sealed: the server has an envelope, and the page a hint while it is open', async (t) => {
  const { page, learner } = await openSignedIn(t)
  await goTo(page, 'keys')
  await page.getByRole('button', { name: 'Suggest one' }).click()
  await waitFor('a passphrase', () => byId(page, 'passphrase').inputValue(), (text) => text.length > 15)
  const passphrase = await byId(page, 'passphrase').inputValue()
  await byId(page, 'use-passphrase').click()
  await byId(page, 'api-key').fill('sk-test-0123456789abcdef')
  await byId(page, 'seal').click()
  await waitFor('the hint', () => byId(page, 'sealed-key').innerText(), (text) => text.includes('cdef'))
  await byId(page, 'lock').click()
  await byId(page, 'passphrase').fill(`${passphrase} not`)
  await byId(page, 'use-passphrase').click()
  await page.getByRole('alert').waitFor()
  await byId(page, 'passphrase').fill(passphrase)
  await byId(page, 'use-passphrase').click()
  await byId(page, 'lock').waitFor()
  await settled(page, 0)
  const [sealed] = await rows('SELECT openai_api_key FROM user_api_keys WHERE user_id = $1', learner)
  assert.doesNotMatch(sealed.openai_api_key, /0123456789abcdef/)
  assert.deepEqual(page.problems, [])
})

test('two devices work without a network, and agree afterwards', async (t) => {
  const page = await open(t, '/two.html', serveTwo)
  await waitFor('both signed in', () => byId(page, 'play').isEnabled(), (ready) => ready)
  await byId(page, 'play').click()
  const steps = new Set()
  const step = async () => {
    const name = await byId(page, 'two-step').getAttribute('data-step')
    steps.add(name)
    return name
  }
  const last = await waitFor('the end', step, (name) => name === 'end' || name === 'failed', 240_000)
  const facts = await page.locator('.two-facts').allInnerTexts()
  assert.equal(last, 'end', `after ${[...steps].join(', ')}: ${facts.join(' / ')}`)
  assert.equal(await byId(page, 'two-verdict').getAttribute('data-same'), 'true')
  const { email } = JSON.parse(await page.evaluate(() => localStorage.getItem('marea-demo.two.account')))
  const { rows: words } = await stage.database.query(
    'SELECT l.title, count(*)::int AS words FROM words w JOIN word_lists l ON l.id = w.list_id JOIN auth.users u ON u.id = w.user_id WHERE u.email = $1 GROUP BY 1 ORDER BY 1',
    [email],
  )
  // A word that both collected is there once, in one list.
  assert.deepEqual(words, [{ title: 'El mercado', words: 2 }, { title: 'El puerto', words: 3 }, { title: 'La cocina', words: 2 }])

  // The switch of one is not the other's.
  const laptop = page.frameLocator('iframe').first()
  const phone = page.frameLocator('iframe').last()
  await laptop.getByTestId('airplane').check({ force: true })
  await waitFor('the laptop to be offline', () => laptop.getByTestId('sync-state').getAttribute('data-level'), (level) => level === 'offline')
  assert.equal(await phone.getByTestId('airplane').isChecked(), false)
  assert.deepEqual(page.problems, [])
})

test('a page of another origin can neither show the app nor order it about', async (t) => {
  const page = await open(t)
  const other = await open(t)
  await other.evaluate((url) => {
    const frame = document.createElement('iframe')
    frame.src = url
    document.body.append(frame)
  }, `${page.url()}?device=phone`)
  await waitFor('the refusal', () => other.problems.join(' '), (text) => /frame-src|frame-ancestors|Refused to frame|Framing/.test(text))
})

test('the developer tools open in the app, and their switch is the app\'s', async (t) => {
  const { page } = await openSignedIn(t)
  await goTo(page, 'device')
  await byId(page, 'tools').click()
  const tools = page.locator('marea-devtools')
  await tools.getByLabel('Network').uncheck()
  await waitFor('the page to say so', () => byId(page, 'sync-state').getAttribute('data-level'), (level) => level === 'offline')
  await tools.getByLabel('Network').check()
  await waitFor('the page to say so', () => byId(page, 'sync-state').getAttribute('data-level'), (level) => level === 'synced')
  assert.deepEqual(page.problems, [])
})
