// The backend's channels, driven by Supabase's own client in Chromium, in both forms of the protocol; and Marea beside it, so that
// what the one hears the other does.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { before, test } from 'node:test'
import { build } from 'esbuild'
import { startBrowser, startStage, waitFor } from '../browser/harness.mjs'
import { apps } from './install.mjs'

let stage, browser, bundled
before(async () => {
  stage = await startStage({}, { wakeups: true })
  browser = await startBrowser(stage)
  const contents = "import { createClient } from '@supabase/supabase-js'\nglobalThis.createClient = createClient"
  const made = await build({ stdin: { contents, resolveDir: apps }, bundle: true, write: false, format: 'iife', logLevel: 'error' })
  bundled = made.outputFiles[0].text
  assert.ok(createRequire(`${apps}/package.json`).resolve('@supabase/realtime-js'))
})

/** A page whose client has joined the private channel `topic` as this learner; `window.heard` is what came. */
async function subscribe(t, learner, topic, vsn) {
  const page = await browser.newPage(t)
  await page.evaluate(bundled)
  await page.evaluate(
    async ({ url, key, token, topic, vsn }) => {
      Object.assign(window, { heard: [], states: [] })
      const client = (window.client = window.createClient(url, key, { realtime: { vsn }, auth: { persistSession: false } }))
      await client.realtime.setAuth(token)
      window.channel = client
        .channel(topic, { config: { private: true, broadcast: { replication_ready: true } } })
        .on('broadcast', { event: 'changed' }, ({ payload }) => window.heard.push(payload.version))
        .on('system', {}, ({ status }) => window.states.push(`system ${status}`))
        .subscribe((state, error) => window.states.push(error ? `${state} ${error.message}` : state))
    },
    { url: stage.backend.url, key: stage.backend.anon_key, token: learner.token, topic, vsn },
  )
  return page
}

const states = (page, accept) => waitFor('the state of the channel', () => page.evaluate(() => window.states), accept)

async function change(learner) {
  await stage.database.query('INSERT INTO public.sessions (user_id, ended_at) VALUES ($1, now())', [learner.id])
  const { rows } = await stage.database.query('SELECT version FROM marea.clocks WHERE user_id = $1', [learner.id])
  return Number(rows[0].version)
}

for (const vsn of ['1.0.0', '2.0.0']) {
  test(`Supabase's client joins, hears its own user's changes and speaks to nobody, version ${vsn}`, async (t) => {
    const [ada, eve] = [await stage.signUp(), await stage.signUp()]
    const page = await subscribe(t, ada, `marea:${ada.id}`, vsn)
    await states(page, (seen) => seen.includes('SUBSCRIBED') && seen.includes('system ok'))
    await change(eve)
    const version = await change(ada)
    assert.deepEqual(await waitFor('the change', () => page.evaluate(() => window.heard), (heard) => heard.length > 0), [version])
    const stranger = await subscribe(t, eve, `marea:${ada.id}`, vsn)
    await states(stranger, (seen) => seen.some((state) => state.startsWith('CHANNEL_ERROR') && state.includes('Unauthorized')))
    // A token that is renewed keeps the channel; leaving ends it.
    await page.evaluate((token) => window.client.realtime.setAuth(token), ada.token)
    await page.evaluate(() => window.channel.send({ type: 'broadcast', event: 'changed', payload: { version: 1e6 } }))
    const next = await change(ada)
    assert.deepEqual(await waitFor('the next change', () => page.evaluate(() => window.heard), (heard) => heard.length > 1), [version, next])
    await page.evaluate(() => window.client.removeChannel(window.channel))
    await states(page, (seen) => seen.includes('CLOSED'))
  })
}
