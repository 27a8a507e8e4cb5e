// A real Chromium with a profile of its own in a temporary folder, driven through its DevTools port.
//
// Started here and not by Playwright, because a test has to be able to kill it like a crash would (`kill`), and start
// it again on the same profile.

import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const START_LIMIT_MS = 30_000
const STOP_LIMIT_MS = 10_000

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
]

const FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--no-default-browser-check',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--remote-debugging-port=0',
]

/** The browser to use: MAREA_CHROMIUM, or an installed one. */
function findChromium() {
  const named = process.env.MAREA_CHROMIUM
  if (named) {
    if (existsSync(named)) return named
    throw new Error(`MAREA_CHROMIUM names ${named}, which is not there.`)
  }
  const found = PLACES.find((place) => existsSync(place))
  if (found) return found
  throw new Error('No Chromium or Chrome was found. Install one, or name it in MAREA_CHROMIUM.')
}

/** A profile that outlives the browser: start it, kill it, start it again; `remove` at the end. */
export function makeProfile() {
  const folder = mkdtempSync(join(tmpdir(), 'marea-browser-'))
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }) }
}

/**
 * Starts the browser on a profile. With `ownGroup`, its many processes can be killed in one moment; without, they belong
 * to this program's group and end with it. With `plain`, tabs are as they are for a person: one that is not in front is
 * hidden, and can be frozen.
 */
export async function startChromium(profile, { ownGroup = false, flags = [], plain = false } = {}) {
  const child = spawn(findChromium(), [...FLAGS, ...flags, `--user-data-dir=${profile.folder}`, 'about:blank'], {
    detached: ownGroup,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  // Comes when the last of its processes has let go of stderr.
  const ended = new Promise((resolve) => child.once('close', resolve))
  const killNow = () => (ownGroup ? killGroup(child.pid) : child.kill('SIGKILL'))
  const kill = async () => {
    killNow()
    await ended
  }
  try {
    const browser = await chromium.connectOverCDP(await endpoint(child), { timeout: START_LIMIT_MS, noDefaults: plain })
    const context = browser.contexts()[0]
    const stop = async () => {
      const session = await browser.newBrowserCDPSession().catch(() => null)
      await session?.send('Browser.close').catch(() => undefined)
      const timer = setTimeout(killNow, STOP_LIMIT_MS)
      await ended
      clearTimeout(timer)
    }
    return { context, version: browser.version(), kill, stop }
  } catch (error) {
    await kill()
    throw error
  }
}

function killGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Gone already.
  }
}

/** The address that Chromium names on stderr once it listens. */
function endpoint(child) {
  return new Promise((resolve, reject) => {
    let text = ''
    const timer = setTimeout(() => reject(new Error(`Chromium did not start:\n${text}`)), START_LIMIT_MS)
    child.once('error', reject)
    child.once('close', (code) => reject(new Error(`Chromium ended with ${code}:\n${text}`)))
    child.stderr.setEncoding('utf8')
    child.stderr.on('data', (chunk) => {
      // It goes on talking for as long as it lives; only the start is of interest.
      if (text.length < 20_000) text += chunk
      const address = /DevTools listening on (ws:\/\/\S+)/.exec(text)?.[1]
      if (address) {
        clearTimeout(timer)
        resolve(address)
      }
    })
  })
}
