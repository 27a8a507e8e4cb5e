// The Tauri example as a person meets it: its window in a real WebKit, its button clicked, on a screen of its own.
//
// `cargo xtask tauri` builds it and runs this. It is apart from `cargo xtask test`, because WebKit is a large package and takes minutes.

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { signUp, startBackend } from '../browser/backend.mjs'
import { startScreen, startSession } from '../browser/webkit-driver.mjs'

const WAIT_MS = 30_000
/** How WebDriver names an element in its JSON. */
const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'

const cleanups = []
let backend, learner, folder, session

before(async () => {
  const started = await startBackend()
  cleanups.push(started.stop)
  backend = started.ready
  learner = await signUp(backend)
  folder = mkdtempSync(join(tmpdir(), 'marea-tauri-'))
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }))
  session = await openApp({ DISPLAY: await startScreen(start), ...settings(), MAREA_USER: learner.id })
})

after(async () => {
  for (const clean of cleanups.reverse()) await clean()
})

const settings = () => ({ MAREA_DIR: folder, MAREA_URL: backend.url, MAREA_KEY: backend.anon_key, MAREA_TOKEN: learner.token })

function start(program, words, options) {
  const child = spawn(program, words, options)
  const ended = once(child, 'close')
  cleanups.push(async () => {
    child.kill('SIGTERM')
    await ended
  })
  return child
}

/** The app, opened by WebKit's driver; what comes back calls WebDriver about it. */
async function openApp(environment) {
  const binary = process.env.MAREA_TAURI_BIN
  assert.ok(binary, 'MAREA_TAURI_BIN names the built example: run `cargo xtask tauri`')
  const webkit = await startSession(start, { binary, env: { ...environment, TAURI_WEBVIEW_AUTOMATION: 'true' } })
  cleanups.push(webkit.stop)
  return webkit.call
}

async function eventually(what, look) {
  for (const end = Date.now() + WAIT_MS; Date.now() < end; await pause(50)) if (await look()) return
  assert.fail(`waited for ${what}, in vain`)
}

async function element(id) {
  const found = await session('POST', '/element', { using: 'css selector', value: `#${id}` })
  return `/element/${found[ELEMENT]}`
}

const shown = async (id) => session('GET', `${await element(id)}/text`)

const shows = (expected) =>
  eventually(JSON.stringify(expected), async () => {
    for (const [id, text] of Object.entries(expected)) if ((await shown(id)) !== text) return false
    return true
  })

async function sessionsOnServer() {
  const answer = await fetch(`${backend.url}/rest/v1/sessions?select=duration_minutes&order=ended_at`, {
    headers: { apikey: backend.anon_key, authorization: `Bearer ${learner.token}` },
  })
  return (await answer.json()).map((row) => row.duration_minutes)
}

test('a click records a session, which is shown and reaches the server', async () => {
  await shows({ total_sessions: '0', pending: '0' })
  await session('POST', `${await element('record')}/click`, {})
  await shows({ said: 'Recorded. It is safe on this device.', total_sessions: '1', total_time_spent_minutes: '10', pending: '0' })
  await eventually('the session on the server', async () => (await sessionsOnServer()).join() === '10')
})

test('what another program records is shown, and sent by the app', async () => {
  const words = ['session', 'record', '--minutes', '5']
  execFileSync(process.env.MAREA_BIN ?? 'target/debug/marea', words, { env: { ...process.env, ...settings() } })
  await shows({ total_sessions: '2', total_time_spent_minutes: '15', pending: '0' })
  await eventually('both on the server', async () => (await sessionsOnServer()).join() === '10,5')
})
