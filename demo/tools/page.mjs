// The demo page as a person uses it: by its form, its switch and its numbers.

import { waitFor } from './wait.mjs'

const byId = (page, id) => page.getByTestId(id)

export async function signUp(page, account) {
  await byId(page, 'email').fill(account.email)
  await byId(page, 'password').fill(account.password)
  await byId(page, 'sign-up').click()
  await byId(page, 'total-sessions').waitFor()
}

/** Signs out, as a person finds it: in the settings. */
export async function signOut(page) {
  await goTo(page, 'settings')
  await byId(page, 'sign-out').click()
  await byId(page, 'sign-in').waitFor()
}

/** Goes to a page of the app: `goTo(page, 'pictures', 'harbour')`. */
export async function goTo(page, ...steps) {
  await page.evaluate((hash) => (location.hash = hash), `#/${steps.join('/')}`)
}

/** Fills the form for practice by hand, and waits until the page says that the session is kept on the device. */
export async function recordSession(page, { kind, ...fields }) {
  const before = Number(await byId(page, 'kept').getAttribute('data-count'))
  await byId(page, 'log').click()
  // The input itself is invisible; its label is what a person presses.
  await byId(page, `kind-${kind}`).check({ force: true })
  for (const [id, value] of Object.entries(fields)) await byId(page, id).fill(String(value))
  await byId(page, 'record').click()
  const kept = async () => Number(await byId(page, 'kept').getAttribute('data-count'))
  await waitFor('the session to be kept', kept, (count) => count === before + 1)
}

/** Takes all words of a picture along. */
export async function collectWords(page, picture) {
  await goTo(page, 'pictures', picture, 'words')
  await byId(page, 'collect-all').click()
  const missing = () => page.locator('.word-card[aria-pressed=false]').count()
  await waitFor('all words to be taken', missing, (count) => count === 0)
}

/** Makes a file of the words, and waits until the page lists it. */
export async function exportWords(page) {
  await goTo(page, 'exports')
  await byId(page, 'make-export').click()
  await byId(page, 'export').first().waitFor()
}

/** Reviews the first word that is due, as known; which one it was. */
export async function reviewOne(page) {
  await byId(page, 'card-word').waitFor()
  const left = () => byId(page, 'cards-left').textContent()
  const [word, before] = [(await byId(page, 'card-word').innerText()).trim(), await left()]
  await byId(page, 'show-answer').click()
  await byId(page, 'grade-good').click()
  await waitFor('the next word', left, (text) => text !== before)
  return word
}

export async function setAirplane(page, on) {
  await byId(page, 'airplane').setChecked(on, { force: true })
}

/** What the page shows, as numbers and words. */
export async function readPage(page) {
  // Not `innerText`: what is hidden because nothing waits is a number all the same.
  const number = async (id) => Number((await byId(page, id).textContent()).replace(/[^0-9.]/g, ''))
  return {
    sessions: await number('total-sessions'),
    minutes: await number('total-minutes'),
    words: await number('total-words'),
    accuracy: await number('accuracy'),
    pending: await number('pending'),
    state: await byId(page, 'sync-state').getAttribute('data-level'),
  }
}

/** Waits until the page shows these values. */
export const waitForPage = (page, wanted) =>
  waitFor(
    `the page to show ${JSON.stringify(wanted)}`,
    () => readPage(page),
    (seen) => Object.entries(wanted).every(([name, value]) => seen[name] === value),
  )
