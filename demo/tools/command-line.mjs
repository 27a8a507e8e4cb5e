// The `marea` command as another device of the same account: its own folder, its own mirror.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const RUN_LIMIT_MS = 60_000
/** What `marea sync` ends with when it cannot reach the server. Not a failure. */
export const OFFLINE = 3

/** A device with an empty folder. The token goes through the environment: command lines are there for all to see. */
export function makeDevice(program, backend, token) {
  const folder = mkdtempSync(join(tmpdir(), 'marea-device-'))
  const run = (words, url = backend.url) => {
    const env = { ...process.env, MAREA_DIR: folder, MAREA_URL: url, MAREA_KEY: backend.anon_key, MAREA_TOKEN: token }
    return capture(program, [...words, '--json'], env)
  }
  return {
    run,
    /** Runs a command that has to succeed, and reads its JSON. */
    async ask(...words) {
      const { code, stdout, stderr } = await run(words)
      if (code !== 0) throw new Error(`marea ${words.join(' ')} ended with ${code}: ${stderr.trim()}`)
      return JSON.parse(stdout)
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

function capture(program, words, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: RUN_LIMIT_MS })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text))
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
}
