// The picture in the README: a learner with two weeks behind her, just gone offline, two sessions waiting.
//
// Made of the real page and the real command line, with an account of its own; no part of the story's numbers.

import { randomUUID } from 'node:crypto'
import { makeDevice } from './command-line.mjs'
import { recordSession, setAirplane, signUp, waitForPage } from './page.mjs'

// Minutes on each of the thirteen days before today; 0 is a day off.
const MINUTES = [25, 0, 40, 18, 0, 32, 22, 0, 45, 30, 12, 50, 38]
const DAY_MS = 24 * 60 * 60 * 1000

/** Takes the picture. `signIn` gives a token for an account, `context` is the browser's. */
export async function takePicture({ context, backend, pageUrl, program, signIn, path }) {
  const page = await context.newPage()
  await page.setViewportSize({ width: 1200, height: 860 })
  await page.emulateMedia({ reducedMotion: 'reduce', colorScheme: 'light' })
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
  const worked = MINUTES.filter((minutes) => minutes > 0).length
  await page.reload()
  await waitForPage(page, { sessions: worked, pending: 0 })
  await setAirplane(page, true)
  await recordSession(page, { kind: 'describe', minutes: 15, descriptions: 3, questions: 0, correct: 0, words: 6 })
  await recordSession(page, { kind: 'qa', minutes: 20, descriptions: 0, questions: 12, correct: 10, words: 4 })
  await waitForPage(page, { sessions: worked + 2, pending: 2 })
  // The bars and the sea move to their places.
  await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)))
  await page.screenshot({ path })
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
