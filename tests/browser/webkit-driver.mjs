// WebKit's driver, for the Tauri example and for the package in WebKitGTK: a screen of its own, and a session over WebDriver.

import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { waitFor } from '../../demo/tools/wait.mjs'

const START_LIMIT_MS = 30_000

/** An X server that picks a free display. `start` runs a program until the end. */
export async function startScreen(start) {
  const child = start('Xvfb', ['-displayfd', '1', '-screen', '0', '800x600x24'], { stdio: ['ignore', 'pipe', 'ignore'] })
  const [number] = await once(createInterface({ input: child.stdout }), 'line')
  return `:${number}`
}

/** A session with `binary`; `call` asks WebDriver about it, `stop` ends it. */
export async function startSession(start, { binary, args = [], env }) {
  const port = await freePort()
  start('WebKitWebDriver', [`--port=${port}`], { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'inherit'] })
  const ask = async (method, path, body) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method, ...(body && { body: JSON.stringify(body) }) })
    const { value } = await answer.json()
    if (!answer.ok) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`)
    return value
  }
  await waitFor('the driver of WebKit', () => ask('GET', '/status').catch(() => null), (status) => status?.ready, START_LIMIT_MS)
  const alwaysMatch = { 'webkitgtk:browserOptions': { binary, args } }
  const { sessionId, capabilities } = await ask('POST', '/session', { capabilities: { alwaysMatch } })
  const session = `/session/${sessionId}`
  return {
    version: `${capabilities.browserName} ${capabilities.browserVersion}`,
    call: (method, path, body) => ask(method, session + path, body),
    stop: () => ask('DELETE', session).catch(() => undefined),
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  return port
}
