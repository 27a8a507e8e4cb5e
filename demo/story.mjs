// The demo without a person: one learner, two devices, no network, and no session, word or file lost or counted twice.
//
// Plays in a real Chromium and with the real command line against the backend that MAREA_BACKEND describes, says each
// step as it happens, and ends with one JSON line whose numbers were read from the places that they name.
//
// Environment: MAREA_BACKEND (the backend's JSON line), MAREA_PAGE_URL (where the page is served), MAREA_BIN (the
// `marea` command); if wanted MAREA_CHROMIUM (the browser), MAREA_SCREENSHOT (where to put the README's picture), and MAREA_TWO_URL
// (where two devices are served side by side) with MAREA_ANIMATION (where to put the moving picture of them).

import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import pg from 'pg'
import { makeProfile, startChromium } from './tools/chromium.mjs'
import { makeDevice, OFFLINE } from './tools/command-line.mjs'
import { collectWords, exportWords, goTo, readPage, recordSession, reviewOne, setAirplane, signUp, waitForPage } from './tools/page.mjs'
import { takeAnimation, takePicture } from './tools/picture.mjs'
import { waitFor } from './tools/wait.mjs'

// Nothing listens there: what a device without a network finds.
const NO_SERVER = 'http://127.0.0.1:9'

const PICTURE = 'harbour'

const say = (text) => console.log(`  ${text}`)

async function play(stage) {
  const { backend, pageUrl, program, undo } = stage

  say('A learner opens the app in a browser and signs up.')
  const profile = makeProfile()
  undo.push(profile.remove)
  const browser = await startChromium(profile)
  undo.push(browser.stop)
  const page = await browser.context.newPage()
  await page.setViewportSize({ width: 1200, height: 860 })
  await page.goto(pageUrl)
  const account = { email: `story-${randomUUID()}@example.com`, password: randomUUID() }
  await signUp(page, account)
  await waitForPage(page, { sessions: 0, pending: 0 })
  // From here on the page is kept by its service worker, and starts without a network.
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined))

  say('The browser goes offline: airplane mode on, network cut.')
  await setAirplane(page, true)
  await browser.context.setOffline(true)

  say('The learner records two sessions all the same. Each is on the disk before the page says so.')
  await recordSession(page, { kind: 'describe', minutes: 20, descriptions: 3, questions: 0, correct: 0, words: 6 })
  await recordSession(page, { kind: 'qa', minutes: 15, descriptions: 0, questions: 12, correct: 9, words: 2 })
  await waitForPage(page, { sessions: 2, minutes: 35, pending: 2 })

  say('She takes the words of a picture along, and makes a file of them: still nothing has left the browser.')
  await collectWords(page, PICTURE)
  await exportWords(page)

  say('The page is reloaded, still offline.')
  await goTo(page, '')
  const { pending } = await readPage(page)
  await page.reload()
  const kept = await waitForPage(page, { sessions: 2, minutes: 35, pending })
  say(`It is all there: the page shows ${kept.sessions} sessions, and ${kept.pending} changes that wait to be sent.`)

  say('On another device, the command line, the same learner records a third session. No network there either.')
  const { id, token } = await signIn(backend, account)
  const laptop = makeDevice(program, backend, token)
  undo.push(laptop.remove)
  const third = ['--type', 'qa', '--minutes', '10', '--questions', '8', '--correct', '7', '--words', '4']
  await laptop.ask('session', 'record', ...third)
  const attempt = await laptop.run(['sync'], NO_SERVER)
  if (attempt.code !== OFFLINE) throw new Error(`sync without a network ended with ${attempt.code}: ${attempt.stderr}`)
  say('It tries to sync and is told that there is no network. Nothing is lost, and nothing has failed.')

  say('The command line gets its network back and syncs.')
  await laptop.ask('sync')
  say(`Postgres now knows ${(await readPostgres(stage, id)).total_sessions} session, the one of the command line.`)

  say('The browser comes back online.')
  await browser.context.setOffline(false)
  await setAirplane(page, false)
  await waitForPage(page, { sessions: 3, minutes: 45, pending: 0 })
  say('It has sent its two and received the other one.')
  const file = await fileFromServer(page, laptop)
  say(`The file that was made without a network is on the server: the command line fetches its ${file} bytes.`)

  say('Both go offline once more, and both review the same word.')
  await setAirplane(page, true)
  await goTo(page, 'review')
  const reviewed = await reviewOne(page)
  const { rows } = await laptop.ask('table', 'list', 'words', '--where', JSON.stringify({ word: reviewed }))
  await laptop.ask('table', 'add', 'words', rows[0].id, '{"times_seen": 1, "times_right": 1}')
  await goTo(page, '')
  await setAirplane(page, false)
  await waitForPage(page, { pending: 0 })
  await laptop.ask('sync')

  const told = await toldAtOnce(stage, page, laptop, rows[0].list_id)

  say('The command line syncs again, and a third device starts from nothing.')
  const newcomer = makeDevice(program, backend, token)
  undo.push(newcomer.remove)
  await laptop.ask('sync')
  await newcomer.ask('sync')
  const found = { ...(await compare(stage, id, page, laptop, newcomer)), ...(await compareWords(stage, id, reviewed, newcomer)), file_bytes: file, told }
  const { context } = browser
  const { MAREA_SCREENSHOT: path, MAREA_ANIMATION: moving, MAREA_TWO_URL: twoUrl } = process.env
  if (path) await takePicture({ context, backend, pageUrl, program, path, signIn: (account) => signIn(backend, account) })
  if (moving && twoUrl) await takeAnimation({ context, twoUrl, path: moving })
  return found
}

/** Fetches the file of the learner's one export on the command line; its size. */
async function fileFromServer(page, laptop) {
  await goTo(page, 'exports')
  const sent = () => page.getByTestId('export').getAttribute('data-sent')
  await waitFor('the file to be sent', sent, (value) => value === 'true')
  await goTo(page, '')
  await waitForPage(page, { pending: 0 })
  await laptop.ask('sync')
  const { exports } = await laptop.ask('export', 'list')
  const folder = mkdtempSync(join(tmpdir(), 'marea-file-'))
  try {
    const path = join(folder, 'words.csv')
    await laptop.ask('export', 'download', exports[0].id, '--out', path)
    return statSync(path).size
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** One device adds a word; the other one, which does nothing, is told of it. False where the server tells nobody. */
async function toldAtOnce({ database }, page, laptop, list) {
  const answer = await database.query("SELECT to_regprocedure('marea.has_wakeups()') IS NOT NULL AS tells")
  if (!answer.rows[0].tells) return false
  await goTo(page, 'device')
  const joined = () => page.getByTestId('facts').getAttribute('data-wakeups')
  await waitFor('the page to listen for changes', joined, (state) => state === 'joined')
  await goTo(page, 'list', list)
  const words = () => page.getByTestId('word-row').count()
  const before = await words()
  await laptop.ask('table', 'insert', 'words', JSON.stringify({ list_id: list, word: 'la marea', meaning: 'the tide' }))
  await laptop.ask('sync')
  await waitFor('the word to come by itself', words, (count) => count === before + 1)
  await goTo(page, '')
  say('The command line adds a word, and the browser shows it at once: it was told.')
  return true
}

/** The words that a device which began from nothing has, and how often the one that both devices reviewed was seen. */
async function compareWords({ database }, userId, word, newcomer) {
  const { rows } = await newcomer.ask('query', 'SELECT count(*) AS words, max(times_seen) AS seen FROM words')
  const answer = await database.query('SELECT count(*)::int AS words, max(times_seen) AS seen FROM public.words WHERE user_id = $1', [userId])
  const [there] = answer.rows
  say(`${there.words} words, "${word}" reviewed ${there.seen} times: once on each device.`)
  return { words: there.words, times_seen: there.seen, words_agree: isDeepStrictEqual(rows[0], [there.words, there.seen]) }
}

/** Reads every place, and says whether they agree. */
async function compare(stage, userId, page, laptop, newcomer) {
  const browser = await readPage(page)
  const [mine, theirs] = [await laptop.ask('progress'), await newcomer.ask('progress')]
  const waiting = (await laptop.ask('status')).pending + (await newcomer.ask('status')).pending
  const postgres = await readPostgres(stage, userId)
  say('')
  const line = (place, seen) => say(`${place.padEnd(26)} ${seen.sessions} sessions, ${seen.minutes} minutes, ${seen.words} words`)
  const cli = (seen) => ({
    sessions: seen.total_sessions,
    minutes: seen.total_time_spent_minutes,
    words: seen.total_vocabulary_learned,
  })
  line('the browser shows', browser)
  line('the command line shows', cli(mine))
  line('the third device shows', cli(theirs))
  line('Postgres has', cli(postgres))
  say('')
  const same = (seen) => ['sessions', 'minutes', 'words'].every((name) => cli(postgres)[name] === seen[name])
  return {
    agree: same(browser) && same(cli(mine)) && isDeepStrictEqual(mine, theirs) && postgres.sessions === 3,
    sessions: postgres.sessions,
    postgres_total_sessions: postgres.total_sessions,
    browser_total_sessions: browser.sessions,
    cli_total_sessions: mine.total_sessions,
    pending: browser.pending + waiting,
  }
}

async function readPostgres({ database }, userId) {
  const answer = await database.query(
    `SELECT (SELECT count(*)::int FROM public.sessions WHERE user_id = $1) AS sessions,
            total_sessions, total_time_spent_minutes, total_vocabulary_learned
     FROM public.user_progress WHERE user_id = $1`,
    [userId],
  )
  if (answer.rows.length === 0) throw new Error('Postgres has no progress of the learner')
  return answer.rows[0]
}

async function signIn(backend, account) {
  const answer = await fetch(`${backend.url}/auth/v1/token?grant_type=password`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', apikey: backend.anon_key },
    body: JSON.stringify(account),
  })
  if (!answer.ok) throw new Error(`the second device could not sign in: HTTP ${answer.status}`)
  const body = await answer.json()
  return { id: body.user.id, token: body.access_token }
}

function needed(name) {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set. \`cargo xtask demo --headless\` sets it.`)
  return value
}

/** Rejects when somebody wants the story to end; what was started is then undone as after any failure. */
function interrupted() {
  return new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => reject(new Error('interrupted')))
  })
}

async function main() {
  const undo = []
  let found = null
  try {
    const backend = JSON.parse(needed('MAREA_BACKEND'))
    const database = new pg.Client({ connectionString: backend.database_url })
    await database.connect()
    undo.push(() => database.end())
    const stage = { backend, database, pageUrl: needed('MAREA_PAGE_URL'), program: needed('MAREA_BIN'), undo }
    found = await Promise.race([play(stage), interrupted()])
  } catch (error) {
    console.error(`The demo failed: ${error.message}`)
  }
  for (const step of undo.reverse()) await Promise.resolve(step()).catch((error) => console.error(error.message))
  const { agree, words_agree: wordsAgree, ...numbers } = found ?? { agree: false }
  const totals = [numbers.sessions, numbers.postgres_total_sessions, numbers.browser_total_sessions, numbers.cli_total_sessions]
  const ok = agree && wordsAgree && totals.every((total) => total === 3) && numbers.pending === 0 && numbers.times_seen === 2 && numbers.told && numbers.file_bytes > 0
  console.log(JSON.stringify({ demo: ok ? 'ok' : 'failed', ...numbers }))
  process.exitCode = ok ? 0 : 1
}

await main()
