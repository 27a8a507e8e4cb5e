// A real backend as a process of its own, and learners on it.
//
// Anything that is missing is an error that names it.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const BACKEND_START_LIMIT_MS = 120_000

/**
 * The development backend as a process of its own, ready to be called. Wake-ups are off: tests say when a device looks. `args` are more
 * of its words, `env` is more of its environment.
 */
export async function startBackend({ wakeups = false, args = [], env = {} } = {}) {
  const program = process.env.MAREA_BACKEND_BIN ?? `${root}target/debug/marea-backend`
  if (!existsSync(program)) throw new Error(`${program} is missing. Run \`cargo build -p marea-backend\` first.`)
  // Longer than the program's own time for a request: this serves tests on busy machines.
  const words = ['--wakeups', String(wakeups), '--statement-timeout', '60', ...args]
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text) => (said += text))
  const ended = new Promise((resolve) => child.once('close', resolve))
  const line = await firstLine(child, () => said).catch((error) => {
    child.kill('SIGTERM')
    throw error
  })
  const end = async (signal) => {
    child.kill(signal)
    await ended
  }
  return { ready: JSON.parse(line), stop: () => end('SIGTERM'), kill: () => end('SIGKILL') }
}

function firstLine(child, said) {
  return new Promise((resolve, reject) => {
    const settle = (finish) => (value) => {
      clearTimeout(timer)
      finish(value)
    }
    const fail = settle(reject)
    const timer = setTimeout(() => fail(new Error(`The backend did not start:\n${said()}`)), BACKEND_START_LIMIT_MS)
    child.once('error', fail)
    child.once('close', (code) => fail(new Error(`The backend ended with ${code}:\n${said()}`)))
    createInterface({ input: child.stdout }).once('line', settle(resolve))
  })
}

/** A new learner, so that tests do not see each other. */
export async function signUp(backend) {
  const account = { email: `${randomUUID()}@example.com`, password: randomUUID() }
  const answer = await fetch(`${backend.url}/auth/v1/signup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', apikey: backend.anon_key },
    body: JSON.stringify(account),
  })
  const body = await answer.json()
  assert.equal(answer.status, 200, 'sign-up')
  return { ...account, id: body.user.id, token: body.access_token }
}

/** Makes the gateway misbehave, or (null) behave again. */
export async function setFault(backend, fault) {
  const answer = await fetch(`${backend.url}/_marea/faults`, {
    method: fault ? 'POST' : 'DELETE',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${backend.service_key}` },
    ...(fault && { body: JSON.stringify(fault) }),
  })
  assert.ok(answer.ok, `the fault was not taken: HTTP ${answer.status}`)
}

/** How many channels are joined on `/realtime/v1`; with `cut`, all sockets are broken first. */
export async function sockets(backend, { cut = false } = {}) {
  const call = (method) =>
    fetch(`${backend.url}/_marea/sockets`, { method, headers: { authorization: `Bearer ${backend.service_key}` } })
  if (cut) await call('DELETE')
  return (await (await call('GET')).json()).joined
}
