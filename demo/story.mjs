// The demo without a person: one learner, two devices, no network, and no session lost or counted twice.
//
// Plays in a real Chromium and with the real command line against the backend that MAREA_BACKEND describes, says each
// step as it happens, and ends with one JSON line whose numbers were read from the places that they name.
//
// Environment: MAREA_BACKEND (the backend's JSON line), MAREA_PAGE_URL (where the page is served), MAREA_BIN (the
// `marea` command); if wanted MAREA_CHROMIUM (the browser) and MAREA_SCREENSHOT (where to put the README's picture).

import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import pg from 'pg'
import { makeProfile, startChromium } from './tools/chromium.mjs'
import { makeDevice, OFFLINE } from './tools/command-line.mjs'
import { readPage, recordSession, setAirplane, signUp, waitForPage } from './tools/page.mjs'
import { takePicture } from './tools/picture.mjs'

// Nothing listens there: what a device without a network finds.
const NO_SERVER = 'http://127.0.0.1:9'

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

  say('The page is reloaded, still offline.')
  await page.reload()
  const kept = await waitForPage(page, { sessions: 2, minutes: 35, pending: 2 })
  say(`They are there: the page shows ${kept.sessions} sessions, ${kept.pending} of them waiting to be sent.`)

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

  say('The command line syncs again, and a third device starts from nothing.')
  const newcomer = makeDevice(program, backend, token)
  undo.push(newcomer.remove)
  await laptop.ask('sync')
  await newcomer.ask('sync')
  const found = await compare(stage, id, page, laptop, newcomer)
  const path = process.env.MAREA_SCREENSHOT
  if (path) {
    const { context } = browser
    await takePicture({ context, backend, pageUrl, program, path, signIn: (account) => signIn(backend, account) })
  }
  return found
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
  const { agree, ...numbers } = found ?? { agree: false }
  const totals = [numbers.sessions, numbers.postgres_total_sessions, numbers.browser_total_sessions, numbers.cli_total_sessions]
  const ok = agree && totals.every((total) => total === 3) && numbers.pending === 0
  console.log(JSON.stringify({ demo: ok ? 'ok' : 'failed', ...numbers }))
  process.exitCode = ok ? 0 : 1
}

await main()
