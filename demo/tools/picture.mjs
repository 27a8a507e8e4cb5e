// The pictures in the README: a learner with two weeks behind her, just gone offline, and two devices that part and meet again.
//
// Made of the real page and the real command line, with an account of its own; no part of the story's numbers.

import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { animate } from './apng.mjs'
import { makeDevice } from './command-line.mjs'
import { collectWords, goTo, recordSession, setAirplane, signUp, waitForPage } from './page.mjs'
import { waitFor } from './wait.mjs'

// Minutes on each of the thirteen days before today; 0 is a day off.
const MINUTES = [25, 0, 40, 18, 0, 32, 22, 0, 45, 30, 12, 50, 38]
const DAY_MS = 24 * 60 * 60 * 1000

// How long the first and the last state are shown, and what is too short to be one.
const [FIRST_MS, LAST_MS, SHORTEST_MS] = [1500, 3000, 250]

async function makePage(context, size) {
  const page = await context.newPage()
  await page.setViewportSize(size)
  await page.emulateMedia({ reducedMotion: 'reduce', colorScheme: 'light' })
  const devtools = await context.newCDPSession(page)
  await devtools.send('Emulation.setScrollbarsHidden', { hidden: true })
  return page
}

/** Takes the picture. `signIn` gives a token for an account, `context` is the browser's. */
export async function takePicture({ context, backend, pageUrl, program, signIn, path }) {
  const page = await makePage(context, { width: 1200, height: 860 })
  await page.goto(pageUrl)
  await page.evaluate(() => localStorage.clear())
  await page.reload()
  const account = { email: `ada-${randomUUID().slice(0, 4)}@example.com`, password: randomUUID() }
  await signUp(page, account)
  const { token } = await signIn(account)
  const laptop = makeDevice(program, backend, token)
  try {
    await recordPast(laptop)
  } finally {
    laptop.remove()
  }
  await collectWords(page, 'harbour')
  await goTo(page, '')
  const worked = MINUTES.filter((minutes) => minutes > 0).length
  // A picture that is taken at night greets as by day.
  await page.clock.setFixedTime(new Date().setHours(10, 0, 0, 0))
  await page.reload()
  await waitForPage(page, { sessions: worked, pending: 0 })
  await setAirplane(page, true)
  await recordSession(page, { kind: 'describe', minutes: 15, descriptions: 3, questions: 0, correct: 0, words: 6 })
  await recordSession(page, { kind: 'qa', minutes: 20, descriptions: 0, questions: 12, correct: 10, words: 4 })
  await waitForPage(page, { sessions: worked + 2, pending: 2 })
  // What was told is gone again, and the bars have moved to their places.
  await page.waitForFunction(() => document.querySelector('.toast')?.textContent === '', undefined, { polling: 100 })
  await page.evaluate(() => scrollTo(0, 0))
  await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)))
  await page.screenshot({ path })
  await page.close()
}

/** Takes the moving picture: the page of two devices, at each step of what it shows. */
export async function takeAnimation({ context, twoUrl, path }) {
  const page = await makePage(context, { width: 1000, height: 800 })
  await page.goto(twoUrl)
  await waitFor('both devices', () => page.getByTestId('play').isEnabled(), (ready) => ready)
  const frames = []
  // What is on the screen for a shorter time than one picture takes is left out.
  const take = async () => {
    const png = await page.screenshot()
    const now = Date.now()
    if (frames.at(-1)?.png.equals(png)) return
    frames.push({ png, from: now })
  }
  await take()
  await page.getByTestId('play').click()
  const step = () => page.getByTestId('two-step').getAttribute('data-step')
  while (!['end', 'failed'].includes(await step())) await take()
  if ((await step()) === 'failed') throw new Error('the devices did not come to an end')
  await take()
  const lasting = frames.map(({ png, from }, index) => ({ png, ms: index + 1 < frames.length ? frames[index + 1].from - from : LAST_MS }))
  // Flickers would cost as much as what is to be seen.
  const seen = lasting.filter(({ ms }, index) => ms >= SHORTEST_MS || index === 0)
  seen[0].ms = FIRST_MS
  writeFileSync(path, animate(seen))
  await page.close()
}

async function recordPast(laptop) {
  for (const [index, minutes] of MINUTES.entries()) {
    if (minutes === 0) continue
    const ended = new Date(Date.now() - (MINUTES.length - index) * DAY_MS).toISOString()
    const counts = ['--questions', String(8 + index), '--correct', String(7 + Math.floor(index / 2)), '--words', '5']
    await laptop.ask('session', 'record', '--minutes', String(minutes), '--ended-at', ended, ...counts)
  }
  await laptop.ask('sync')
}
