// What an app hands to `open`, checked before anything is opened with it: a mistake is told at once, by the option's name.
// Says what kind of value came, never the value: a key or a token may stand in the wrong place.

import { MareaError } from './errors.js'

// What Supabase serves below a project's address.
const SERVICE = /\/(?:rest|auth|storage|realtime|functions|graphql)\/v1(?:\/|$)/
// What never leaves this machine. A parsed address writes all spellings of 127.0.0.1 alike.
const LOOPBACK = /^(?:(?:.+\.)?localhost\.?|127\.\d+\.\d+\.\d+|\[::1\])$/
const UUID = /^[\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12}$/i
const KEY = "the project's publishable (or anon) key"
const EXAMPLE = 'an address like https://project.supabase.co'

type Given = Record<string, unknown>

/** Checks all that `open` takes. */
export function checkOptions(options: unknown): void {
  const given = checkServer(options)
  // Nobody has signed in, and nobody is asked for a token.
  if (given.userId === null) return
  const userId = text(given, 'userId', "the signed-in user's UUID, the token's `sub`")
  if (!UUID.test(userId)) refuse('userId', "expected a UUID: the signed-in user's id, the token's `sub`")
  kind(given, 'getAccessToken', 'function', 'a function that gives the access token, or null while nobody is signed in')
}

/** The project's public key, under whichever name it was given. */
export function keyOf(options: { publishableKey?: string; anonKey?: string }): string {
  return options.publishableKey ?? options.anonKey ?? ''
}

/** Checks where the server is, and what else the options of `open` and of `openWithSupabase` have in common. */
export function checkServer(options: unknown): Given {
  if (typeof options !== 'object' || options === null) {
    refuse('options', `expected an object with url, publishableKey, userId and getAccessToken, got ${nameOf(options)}`)
  }
  const given = options as Given
  if (given.allowHttp !== undefined) kind(given, 'allowHttp', 'boolean', 'true or false')
  checkUrl(text(given, 'url', EXAMPLE), given.allowHttp === true)
  // The new name, unless the old one alone was given.
  const option = given.publishableKey === undefined && given.anonKey !== undefined ? 'anonKey' : 'publishableKey'
  const key = text(given, option, KEY)
  // What no HTTP header can hold: of a pasted key, most often the line break at its end.
  if (!/^[\x21-\x7e]+$/.test(key)) refuse(option, `expected ${KEY}, without spaces and line breaks`)
  // A key of the backend's opens every row to whoever loads the page.
  if (isSecret(key)) refuse(option, `is a secret key, which no app may have; expected ${KEY}`)
  for (const name of ['online', 'persist', 'claimGuest', 'wakeups']) if (given[name] !== undefined) kind(given, name, 'boolean', 'true or false')
  for (const name of ['onLoading', 'onError']) if (given[name] !== undefined) kind(given, name, 'function', 'a function')
  if (given.trustedTypesPolicy !== undefined) kind(given, 'trustedTypesPolicy', 'string', 'the name of a policy')
  if (given.workerUrl !== undefined && !(given.workerUrl instanceof URL)) kind(given, 'workerUrl', 'string', 'an address')
  if (given.files !== undefined) checkFiles(kind(given, 'files', 'object', 'an object with quotaBytes'))
  if (given.dayStartsAt !== undefined) minutesOf(given.dayStartsAt)
  if (given.storage !== undefined && !['opfs', 'local-storage', 'memory'].includes(given.storage as string)) {
    refuse('storage', "expected 'opfs', 'local-storage' or 'memory'")
  }
  return given
}

function checkFiles(files: unknown): void {
  const { quotaBytes, ...others } = files as Given
  for (const name of Object.keys(others)) refuse(`files.${name}`, 'is no option; there is quotaBytes')
  if (quotaBytes === undefined || (Number.isSafeInteger(quotaBytes) && (quotaBytes as number) >= 0)) return
  refuse('files.quotaBytes', `expected a whole number of bytes, got ${nameOf(quotaBytes)}`)
}

/** In both forms that Supabase gives: opaque, and a JWT with its role. */
function isSecret(key: string): boolean {
  if (key.startsWith('sb_secret_')) return true
  try {
    const payload = key.split('.')[1] ?? ''
    return JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))).role === 'service_role'
  } catch {
    return false
  }
}

/** Hours after midnight, in minutes. */
export function minutesOf(hours: unknown): number {
  const minutes = typeof hours === 'number' ? Math.round(hours * 60) : NaN
  if (minutes >= 0 && minutes <= 360) return minutes
  refuse('dayStartsAt', 'expected a number of hours after midnight, 0 to 6')
}

function checkUrl(url: string, allowHttp: boolean): void {
  const address = URL.canParse(url) ? new URL(url) : null
  if (!address || !/^https?:$/.test(address.protocol)) refuse('url', `expected ${EXAMPLE}`)
  if (address.username || address.password) refuse('url', 'must not hold a user name or a password')
  if (address.search || address.hash || /[?#]$/.test(url.trim())) refuse('url', `expected ${EXAMPLE}, without \`?\` and \`#\``)
  if (address.protocol === 'http:' && !allowHttp && !LOOPBACK.test(address.hostname)) {
    refuse('url', 'http:// to another machine lets everybody on the way read the access token; use https://, or set `allowHttp`')
  }
  const service = SERVICE.exec(address.pathname)?.[0].replace(/\/$/, '')
  if (service) refuse('url', `expected the address before ${service}: Marea adds the rest itself`)
}

function text(given: Given, name: string, expected: string): string {
  const value = kind(given, name, 'string', expected) as string
  if (value.trim() === '') refuse(name, `is empty; expected ${expected}`)
  return value
}

function kind(given: Given, name: string, type: string, expected: string): unknown {
  const value = given[name]
  if (value === undefined || value === null) refuse(name, `is missing; expected ${expected}`)
  if (typeof value !== type) refuse(name, `expected ${expected}, got ${nameOf(value)}`)
  return value
}

function nameOf(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return 'an array'
  return `${/^[aeiou]/.test(typeof value) ? 'an' : 'a'} ${typeof value}`
}

function refuse(option: string, problem: string): never {
  throw new MareaError('invalid_input', `${option}: ${problem}`, false)
}
