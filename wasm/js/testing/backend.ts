// A real server for a test: the development backend (a private Postgres, PostgREST and a gateway), started and stopped by the test.

import { spawn } from 'node:child_process'
import type { Child } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import process from 'node:process'
import { TextDecoder } from 'node:util'
import { MareaError } from '../errors.js'
import { TestNetwork } from './network.js'
import { Turns } from './turns.js'

/** Somebody with an account on a test's backend. */
export interface TestLearner {
  readonly userId: string
  readonly email: string
  readonly password: string
  readonly token: string
}

export interface BackendOptions {
  /** The program, where it is not in `MAREA_BACKEND_BIN`, on the `PATH`, or below `target/` of a checkout. */
  program?: string
  /** Its arguments, as `marea-backend --help` says them. */
  args?: string[]
}

/** A backend that runs. */
export interface TestBackend {
  readonly url: string
  readonly publishableKey: string
  /** For the database itself: tables are made with it, `marea.mirror` is called. */
  readonly databaseUrl: string
  /** For what only a backend may do. */
  readonly serviceKey: string
  /** Makes an account. */
  signUp(): Promise<TestLearner>
  stop(): Promise<void>
}

const START_LIMIT_MS = 120_000
const NAME = 'marea-backend'

/** Starts the development backend, on a free port, with an empty database that has Marea's migrations. */
export async function startBackend({ program = findProgram(), args = [] }: BackendOptions = {}): Promise<TestBackend> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const kill = (): void => void child.kill('SIGTERM')
  process.once('exit', kill)
  const stop = async (): Promise<void> => {
    process.off('exit', kill)
    kill()
    await ended
  }
  try {
    const ready = JSON.parse(await firstLine(child)) as Record<'url' | 'anon_key' | 'service_key' | 'database_url', string> & {
      publishable_key?: string
    }
    const publishableKey = ready.publishable_key ?? ready.anon_key
    return {
      url: ready.url,
      publishableKey,
      databaseUrl: ready.database_url,
      serviceKey: ready.service_key,
      signUp: () => signUp(ready.url, publishableKey),
      stop,
    }
  } catch (error) {
    kill()
    throw error
  }
}

function findProgram(): string {
  const given = process.env['MAREA_BACKEND_BIN']
  if (given !== undefined) return given
  const places = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, NAME))
  for (let folder = process.cwd(); ; folder = dirname(folder)) {
    for (const profile of ['release', 'debug']) places.push(join(folder, 'target', profile, NAME))
    if (dirname(folder) === folder) break
  }
  const found = places.find((place) => existsSync(place))
  if (found === undefined) {
    const message = `${NAME} is not there: build it from Marea's repository (cargo install --locked --path backend), or name it in MAREA_BACKEND_BIN.`
    throw new MareaError('invalid_input', message, false)
  }
  return found
}

function firstLine(child: Child): Promise<string> {
  return new Promise((resolve, reject) => {
    const [told, said] = [{ text: '' }, { text: '' }]
    const fail = (why: string): void => {
      clearTimeout(timer)
      reject(new MareaError('worker_failed', `${NAME} ${why}.\n${said.text}`, true))
    }
    const timer = setTimeout(() => fail(`did not start within ${START_LIMIT_MS / 1000} s`), START_LIMIT_MS)
    child.stderr.setEncoding('utf8').on('data', (text) => (said.text += text))
    child.stdout.setEncoding('utf8').on('data', (text) => {
      told.text += text
      const end = told.text.indexOf('\n')
      if (end < 0) return
      clearTimeout(timer)
      resolve(told.text.slice(0, end))
    })
    child.once('error', (error) => fail(`could not be started (${error.message})`))
    child.once('close', (code) => fail(`ended with ${String(code)}`))
  })
}

async function signUp(url: string, apikey: string): Promise<TestLearner> {
  const account = { email: `${randomUUID()}@example.com`, password: randomUUID() }
  const network = new TestNetwork(new Turns(), true, () => undefined, () => new Date())
  const headers = new Map([['content-type', 'application/json'], ['apikey', apikey]])
  const answer = await network.fetch(`${url}/auth/v1/signup`, { method: 'POST', headers, body: JSON.stringify(account) })
  if (answer.status !== 200) throw new MareaError('internal', `The backend answered ${answer.status} to a sign-up.`, false)
  const body = JSON.parse(new TextDecoder().decode(await answer.arrayBuffer())) as { user: { id: string }; access_token: string }
  return { ...account, userId: body.user.id, token: body.access_token }
}
