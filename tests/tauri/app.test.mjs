// The Tauri example as a person meets it: its window in a real WebKit, its button clicked, on a screen of its own.
//
// `cargo xtask tauri` builds it and runs this. It is apart from `cargo xtask test`, because WebKit is a large package and takes minutes.

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { signUp, startBackend } from '../browser/backend.mjs'

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
  session = await openApp({ DISPLAY: await startScreen(), ...settings(), MAREA_USER: learner.id })
})

after(async () => {
  for (const clean of cleanups.reverse()) await clean()
})

const settings = () => ({ MAREA_DIR: folder, MAREA_URL: backend.url, MAREA_ANON_KEY: backend.anon_key, MAREA_TOKEN: learner.token })

function start(program, words, options) {
  const child = spawn(program, words, options)
  const ended = once(child, 'close')
  cleanups.push(async () => {
    child.kill('SIGTERM')
    await ended
  })
  return child
}

/** An X server that picks a free display. */
async function startScreen() {
  const child = start('Xvfb', ['-displayfd', '1', '-screen', '0', '800x600x24'], { stdio: ['ignore', 'pipe', 'ignore'] })
  const [number] = await once(createInterface({ input: child.stdout }), 'line')
  return `:${number}`
}

/** The app, opened by WebKit's driver; what comes back calls WebDriver about it. */
async function openApp(environment) {
  const app = process.env.MAREA_TAURI_BIN
  assert.ok(app, 'MAREA_TAURI_BIN names the built example: run `cargo xtask tauri`')
  const port = await freePort()
  start('WebKitWebDriver', [`--port=${port}`], {
    env: { ...process.env, ...environment, TAURI_WEBVIEW_AUTOMATION: 'true' },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const call = async (method, path, body) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method, ...(body && { body: JSON.stringify(body) }) })
    const { value } = await answer.json()
    if (!answer.ok) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`)
    return value
  }
  await eventually('the driver', async () => (await call('GET', '/status').catch(() => undefined))?.ready)
  const capabilities = { alwaysMatch: { 'webkitgtk:browserOptions': { binary: app, args: [] } } }
  const { sessionId } = await call('POST', '/session', { capabilities })
  cleanups.push(() => call('DELETE', `/session/${sessionId}`).catch(() => undefined))
  return (method, path, body) => call(method, `/session/${sessionId}${path}`, body)
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  return port
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
