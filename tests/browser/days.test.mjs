// The learner's day in a browser: of the place at that instant, by the offset that was written, and moving on at midnight.
//
// Midnight is a place whose clocks are a day ahead: nobody waits for it, and the page and its worker see the same.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { openMarea, startBrowser, startStage, waitFor } from './harness.mjs'

let stage, browser
before(async () => {
  stage = await startStage()
  browser = await startBrowser(stage)
})

/** A page whose clocks are those of a place, and how to take it to another. */
async function pageIn(t, timezoneId) {
  const page = await browser.newPage(t)
  const devtools = await page.context().newCDPSession(page)
  const travel = (timezoneId) => devtools.send('Emulation.setTimezoneOverride', { timezoneId })
  await travel(timezoneId)
  // Chromium keeps one override for all pages of a process.
  t.after(() => devtools.send('Emulation.setTimezoneOverride', { timezoneId: '' }).catch(() => undefined))
  return { page, travel }
}

/** Records with this end, as text or as a Date, and gives the day for which it counts. */
const dayOf = (page, ended_at, asDate = false) =>
  page.evaluate(
    async ([ended_at, asDate]) => {
      const days = async () => (await window.marea.activity('1990-01-01', '2090-01-01')).map(({ day }) => day)
      const { id } = await window.marea.recordSession({
        session_type: 'qa',
        duration_minutes: 10,
        ended_at: asDate ? new Date(ended_at).toISOString() : ended_at,
      })
      const queued = (await window.marea.pending()).find((mutation) => mutation.id === id)
      const day = queued.values.session_data.local_date
      return (await days()).includes(day) ? day : null
    },
    [ended_at, asDate],
  )

test('a session counts for the day of the place at that instant, or for the one that was written', async (t) => {
  const learner = await stage.signUp()
  const { page, travel } = await pageIn(t, 'Europe/Madrid')
  await openMarea(page, stage, learner, { online: false })
  await page.evaluate(() => window.marea.setOnline(false))
  for (const [place, ended_at, expected] of [
    ['Europe/Madrid', '2026-07-15T22:30:00Z', '2026-07-16'],
    ['Europe/Madrid', '2026-01-15T22:30:00Z', '2026-01-15'],
    ['Europe/Madrid', '2026-07-15T18:30:00-04:00', '2026-07-15'],
    ['Europe/Madrid', '2026-07-15T22:30:00+00:00', '2026-07-15'],
    ['America/New_York', '2026-07-16T04:30:00Z', '2026-07-16'],
    ['America/New_York', '2026-01-16T04:30:00Z', '2026-01-15'],
    ['Australia/Lord_Howe', '2026-01-15T13:15:00Z', '2026-01-16'],
  ]) {
    await travel(place)
    assert.equal(await dayOf(page, ended_at), expected, `${ended_at} in ${place}`)
    if (ended_at.endsWith('Z')) assert.equal(await dayOf(page, ended_at, true), expected, `a Date in ${place}`)
  }
  const refused = await page.evaluate(() =>
    window.marea.recordSession({ session_type: 'qa', started_at: '2026-07-01T00:00:00Z' }).catch((error) => error.code),
  )
  assert.equal(refused, 'invalid_input')
  const week = await page.evaluate(async () => {
    const started_at = '2026-02-01T10:00:00Z'
    const { id } = await window.marea.recordSession({ session_type: 'qa', started_at, duration_minutes: 5 })
    return (await window.marea.pending()).find((mutation) => mutation.id === id).values.ended_at
  })
  assert.equal(week, '2026-02-01T10:05:00.000000Z')
  assert.deepEqual(page.problems, [])
})

test('a page that stays visible over midnight shows the new day within a minute', async (t) => {
  const learner = await stage.signUp()
  // At least 25 hours from there to Kiritimati: it is never the same day in both. And no midnight of its own meanwhile.
  const west = new Date().getUTCHours() === 10 ? 'Etc/GMT+12' : 'Pacific/Pago_Pago'
  const { page, travel } = await pageIn(t, west)
  await page.clock.install()
  await page.reload()
  await page.waitForFunction(() => window.ready === true, undefined, { polling: 50 })
  await openMarea(page, stage, learner)
  await page.evaluate(async () => {
    const two = (value) => String(value).padStart(2, '0')
    const now = new Date()
    const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1)
    const local_date = `${yesterday.getFullYear()}-${two(yesterday.getMonth() + 1)}-${two(yesterday.getDate())}`
    await window.marea.recordSession({ session_type: 'qa', duration_minutes: 10, local_date })
    window.seen = []
    window.marea.watchProgress((progress) => window.seen.push(progress.current_streak_days))
  })
  const last = () => page.evaluate(() => window.seen.at(-1))
  await waitFor('the streak of yesterday', last, (streak) => streak === 1)
  await travel('Pacific/Kiritimati')
  await page.clock.runFor(60_000)
  await waitFor('the streak of the new day', last, (streak) => streak === 0)
  await travel(west)
  await page.clock.runFor(60_000)
  await waitFor('the streak of the day before', last, (streak) => streak === 1)
  assert.deepEqual(page.problems, [])
})

test('all that was refused is queued again or forgotten at once', async (t) => {
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner)
  await stage.database.query(`CREATE OR REPLACE FUNCTION public.refuse_marked() RETURNS TRIGGER LANGUAGE plpgsql AS $$
    BEGIN IF NEW.session_data ? 'refuse' THEN RAISE EXCEPTION 'marked' USING ERRCODE = 'PT402'; END IF; RETURN NEW; END $$;
    CREATE OR REPLACE TRIGGER refuse_marked BEFORE INSERT ON public.sessions
      FOR EACH ROW EXECUTE FUNCTION public.refuse_marked()`)
  const counts = () => page.evaluate(async () => {
    const { pending, rejected } = await window.marea.status()
    return [pending, rejected]
  })
  const refuse = () => page.evaluate(async () => {
    const marked = { session_type: 'qa', duration_minutes: 1, session_data: { refuse: true } }
    await Promise.all([1, 2, 3].map(() => window.marea.recordSession(marked)))
    await window.marea.recordSession({ session_type: 'qa', duration_minutes: 1 })
  })
  await refuse()
  await waitFor('three refused', counts, ([pending, rejected]) => pending === 0 && rejected === 3)
  assert.equal((await page.evaluate(() => window.marea.rejected()))[0].refusal.code, 'PT402')
  await stage.database.query('DROP TRIGGER refuse_marked ON public.sessions')
  assert.equal(await page.evaluate(() => window.marea.retryAll()), 3)
  await waitFor('all sent', counts, ([pending, rejected]) => pending === 0 && rejected === 0)
  await stage.database.query(`CREATE TRIGGER refuse_marked BEFORE INSERT ON public.sessions
    FOR EACH ROW EXECUTE FUNCTION public.refuse_marked()`)
  await refuse()
  await waitFor('three refused again', counts, ([pending, rejected]) => pending === 0 && rejected === 3)
  assert.equal(await page.evaluate(() => window.marea.discardAll()), 3)
  assert.deepEqual(await counts(), [0, 0])
  assert.equal(await page.evaluate(() => window.marea.discardAll()), 0)
  assert.equal((await page.evaluate(() => window.marea.progress())).total_sessions, 5)
  await stage.database.query('DROP TRIGGER refuse_marked ON public.sessions')
})

test('a day that begins at four takes what is recorded before, here and in what is shown as today', async (t) => {
  const learner = await stage.signUp()
  const { page, travel } = await pageIn(t, 'Europe/Madrid')
  await openMarea(page, stage, learner, { online: false, dayStartsAt: 4 })
  for (const [ended_at, expected] of [
    ['2026-07-16T01:59:00Z', '2026-07-15'],
    ['2026-07-16T02:00:00Z', '2026-07-16'],
    ['2026-07-16T03:59:00+09:00', '2026-07-15'],
  ]) {
    assert.equal(await dayOf(page, ended_at), expected, ended_at)
  }
  // A place where it is two in the morning now: today is still yesterday's date there.
  const hour = new Date().getUTCHours()
  const ahead = ((2 - hour + 36) % 24) - 12
  await travel(`Etc/GMT${ahead > 0 ? '-' : '+'}${Math.abs(ahead)}`)
  const shown = await page.evaluate(async () => {
    const now = new Date()
    const before = window.marea.today()
    await window.marea.setDayStartsAt(0)
    const dayStart = window.marea.dayStart
    return { hour: now.getHours(), before, after: window.marea.today(), dayStart, date: now.getDate() }
  })
  if (shown.hour === 2) {
    assert.equal(Number(shown.after.slice(-2)), shown.date)
    assert.equal(new Date(`${shown.after}T00:00Z`) - new Date(`${shown.before}T00:00Z`), 86_400_000)
  }
  assert.equal(shown.dayStart, 0)
  // It is kept: a page that says nothing has what was set.
  await page.evaluate(() => window.marea.setDayStartsAt(3.5))
  const other = await browser.newPage(t)
  await openMarea(other, stage, learner, { online: false })
  assert.equal(await other.evaluate(() => window.marea.dayStart), 210)
  for (const wrong of ['7', '-1', '"4"', 'null']) {
    const code = await page.evaluate((wrong) => window.failureOf(() => new Function('m', `return m.setDayStartsAt(${wrong})`)(window.marea)).then((error) => error?.code), wrong)
    assert.equal(code, 'invalid_input', wrong)
  }
})

test('a frozen day keeps a streak, is told as one, and another device sees the same', async (t) => {
  const learner = await stage.signUp()
  const { page } = await pageIn(t, 'Etc/UTC')
  await openMarea(page, stage, learner)
  const dayBefore = (days) => new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10)
  const record = (local_date) => page.evaluate((local_date) => window.marea.recordSession({ session_type: 'qa', duration_minutes: 5, local_date }), local_date)
  for (const days of [4, 3]) await record(dayBefore(days))
  await page.evaluate((local_date) => window.marea.recordEvent({ freezes_day: true, local_date }), dayBefore(2))
  await record(dayBefore(1))
  const shown = async (page) => {
    const { current_streak_days, frozen_days, total_sessions } = await page.evaluate(() => window.marea.progress())
    const days = await page.evaluate(([from, to]) => window.marea.activity(from, to), [dayBefore(4), dayBefore(1)])
    return [current_streak_days, frozen_days, total_sessions, days.map((day) => day.frozen)]
  }
  const expected = [3, 1, 3, [false, false, true, false]]
  assert.deepEqual(await shown(page), expected)
  await waitFor('everything sent', () => page.evaluate(() => window.marea.status()), (seen) => seen.pending === 0)
  await page.evaluate(() => window.marea.sync())
  assert.deepEqual(await shown(page), expected, 'the server counts alike')
  const elsewhere = await startBrowser(stage)
  const other = await elsewhere.newPage(t)
  await openMarea(other, stage, learner)
  await other.evaluate(() => window.marea.sync())
  assert.deepEqual(await shown(other), expected)
  const refused = await page.evaluate(() => window.marea.recordEvent({ freezes_day: true, points: 1 }).catch((error) => error.message))
  assert.match(refused, /^freezes_day: /)
})
