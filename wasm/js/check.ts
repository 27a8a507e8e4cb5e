// The arguments of every call, checked where they enter: each gives one copy that is plain JSON, or an error that names the
// field and says what was expected and what came.
//
// A copy, because what the caller changes after the call is no part of it, and because the reactive objects of Vue, Svelte
// and MobX are proxies, which no message carries. The tables below are typed by what they check: a field that is new, or
// gone, does not compile. Ranges and rules between fields are the engine's, the same on every platform.
//
// What came is told by its kind and never quoted, a number that is expected to be one apart: it may be a learner's, or a secret.

import { MareaError } from './errors.js'
import type { Args, Method } from './protocol.js'
import type { ApiProvider, EventInput, ExportChange, ExportInput, ExportKey, ExportQuery } from './types.js'
import type { ExportStatus, PassphraseOptions, SessionInput, Write } from './types.js'

/** Gives the copy, or refuses the value of this path. */
type Check = (value: unknown, path: string) => unknown
type Fields<T> = { [K in keyof Required<T>]: Check }

// The engine reads no deeper JSON; and where an object leads back to itself, this is where it ends.
const MAX_DEPTH = 100

function refusal(path: string, problem: string): MareaError {
  return new MareaError('invalid_input', `${path}: ${problem}`, false)
}

function unexpected(path: string, expected: string, value: unknown): MareaError {
  return refusal(path, `expected ${expected}, got ${kindOf(value)}`)
}

/** The class of an object, also of one from another frame. A proxy of a date says that it is a plain object, and is none. */
const classOf = (value: unknown): string =>
  value instanceof Date ? 'Date' : Object.prototype.toString.call(value).slice(8, -1)

function kindOf(value: unknown): string {
  if (value === null || (typeof value === 'number' && !Number.isFinite(value))) return String(value)
  if (typeof value !== 'object') return typeof value
  if (Array.isArray(value)) return 'array'
  const name = classOf(value)
  if (name === 'Date') return timeOf(value) === null ? 'invalid Date' : 'Date'
  return name === 'Object' ? 'object' : name
}

/** A date's instant as text; null for one that has none. */
function timeOf(date: unknown): string | null {
  try {
    return Date.prototype.toISOString.call(date)
  } catch {
    return null
  }
}

const text: Check = (value, path) => {
  if (typeof value !== 'string') throw unexpected(path, 'text', value)
  // Half of a surrogate pair is no character of Unicode: neither JSON nor Postgres takes it.
  if (/\p{Surrogate}/u.test(value)) throw refusal(path, 'holds half of a character (a lone surrogate)')
  return value
}

/** Text of a form. */
const formed = (expected: string, fits: (text: string) => boolean): Check => (value, path) => {
  if (typeof value !== 'string') throw unexpected(path, expected, value)
  if (!fits(value)) throw refusal(path, `expected ${expected}`)
  return value
}

function isDay(day: string): boolean {
  const millis = Date.parse(`${day}T00:00:00Z`)
  // Some engines take the 30th of February for a day of March.
  return !Number.isNaN(millis) && new Date(millis).toISOString().startsWith(day)
}

const UUID = /^(urn:uuid:|\{)?[\da-f]{8}-?([\da-f]{4}-?){3}[\da-f]{12}\}?$/i
const DAY = /^\d{4}-\d\d-\d\d$/
const INSTANT = /^(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,9})?([Zz]|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)$/

const uuid = formed('a UUID', (text) => UUID.test(text))
const day = formed('a calendar day written YYYY-MM-DD', (text) => DAY.test(text) && isDay(text))
const instantText = formed('a time with an offset, like 2026-11-23T12:00:00Z', (text) => isDay(INSTANT.exec(text)?.[1] ?? ''))
const instant: Check = (value, path) => instantText(classOf(value) === 'Date' ? (timeOf(value) ?? value) : value, path)

const integer: Check = (value, path) => {
  if (typeof value !== 'number') throw unexpected(path, 'an integer', value)
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 31) return value
  throw refusal(path, `expected an integer${Number.isInteger(value) ? ' below 2^31' : ''}, got ${value}`)
}

const byteCount: Check = (value, path) => {
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value)
  if (typeof value === 'string' && /^-?\d{1,19}$/.test(value)) return value
  throw unexpected(path, 'a whole number of bytes, as text where it may pass 2^53', value)
}

const boolean: Check = (value, path) => {
  if (typeof value !== 'boolean') throw unexpected(path, 'true or false', value)
  return value
}

const millis: Check = (value, path) => {
  if (value === null || (typeof value === 'number' && value >= 0 && value < Infinity)) return value
  throw unexpected(path, 'milliseconds, 0 or more, or null', value)
}

const oneOf = <T extends string>(names: Record<T, 0>): Check => {
  const expected = `one of ${Object.keys(names).join(', ')}`
  return formed(expected, (text) => Object.hasOwn(names, text))
}

const texts: Check = (value, path) => {
  if (!Array.isArray(value)) throw unexpected(path, 'a list of texts', value)
  return Array.from(value, (part, index) => text(part, `${path}[${index}]`))
}

/** Free-form JSON of the app's own. A member that is `undefined` is one that is not there, as in `JSON.stringify`. */
function json(value: unknown, path: string, depth = 0): unknown {
  if (depth > MAX_DEPTH) throw refusal(path, `is nested more than ${MAX_DEPTH} levels deep, or leads back to itself`)
  if (value === null || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))) return value
  if (typeof value === 'string') return text(value, path)
  if (Array.isArray(value)) return Array.from(value, (part, index) => json(part, `${path}[${index}]`, depth + 1))
  const kind = classOf(value)
  const time = kind === 'Date' ? timeOf(value) : null
  if (time !== null) return time
  if (kind !== 'Object') throw unexpected(path, 'JSON', value)
  const given = Object.entries(value as object).filter(([, part]) => part !== undefined)
  return Object.fromEntries(
    given.map(([key, part]) => [text(key, `a key of ${path}`), json(part, `${path}.${key}`, depth + 1)]),
  )
}

const jsonObject: Check = (value, path) => json(objectOf(value, path), path)

function objectOf(value: unknown, path: string): Record<string, unknown> {
  if (classOf(value) !== 'Object') throw unexpected(path, 'an object', value)
  return value as Record<string, unknown>
}

interface Shape {
  /** What must be there; all else may be absent, `undefined` or null. */
  required?: string[]
  /** Leaves out what is not known instead of refusing it. */
  loose?: boolean
}

/** An object of these fields. `name` is its own, where it has no path. */
const record = <T>(name: string, fields: Fields<T>, { required = [], loose = false }: Shape = {}): Check => {
  const checks: Record<string, Check> = fields
  return (value, path) => {
    const given = objectOf(value, path || name)
    const at = (key: string): string => (path ? `${path}.${key}` : key)
    const copy: Record<string, unknown> = {}
    for (const key of Object.keys(given)) {
      const part = given[key]
      const check = Object.hasOwn(checks, key) ? checks[key] : undefined
      if (check) {
        if (part !== undefined && part !== null) copy[key] = check(part, at(key))
      } else if (part !== undefined && !loose) {
        throw refusal(at(key), `is no field of ${name}; there are ${Object.keys(checks).join(', ')}`)
      }
    }
    for (const key of required) if (copy[key] === undefined) throw refusal(at(key), 'is missing')
    return copy
  }
}

const session = record<SessionInput>(
  'a session',
  {
    id: uuid,
    session_type: text,
    started_at: instant,
    ended_at: instant,
    local_date: day,
    duration_minutes: integer,
    images_processed: integer,
    descriptions_generated: integer,
    qa_attempts: integer,
    qa_correct: integer,
    vocabulary_learned: integer,
    phrases_saved: integer,
    session_data: jsonObject,
  },
  { required: ['session_type'] },
)

const event = record<EventInput>('an award', {
  id: uuid,
  occurred_at: instant,
  local_date: day,
  descriptions: integer,
  images: integer,
  questions_answered: integer,
  questions_correct: integer,
  vocabulary_learned: integer,
  minutes: integer,
  points: integer,
  mastered_words: integer,
  learning_words: integer,
  new_words: integer,
  achievements: texts,
})

const exportInput = record<ExportInput>(
  'an export',
  { id: uuid, export_type: text, export_format: text, filters: jsonObject },
  { required: ['export_type', 'export_format'] },
)

const exportStatus = oneOf<ExportStatus>({ pending: 0, processing: 0, completed: 0, failed: 0, expired: 0 })

const exportChange = record<ExportChange>('a change', {
  status: exportStatus,
  records_count: integer,
  file_size_bytes: byteCount,
  file_url: text,
  data: json,
  error_message: text,
  retry_count: integer,
  started_at: instant,
  completed_at: instant,
  processing_time_seconds: integer,
  expires_at: instant,
})

const exportKey = record<ExportKey>(
  'a place',
  { created_at: instant, id: uuid },
  { required: ['created_at', 'id'], loose: true },
)

const exportQuery = record<ExportQuery>('a query', {
  status: exportStatus,
  export_type: text,
  after: exportKey,
  limit: integer,
})

const inputs: Record<Exclude<Write['kind'], 'update_export'>, Check> = {
  record_session: session,
  record_event: event,
  create_export: exportInput,
}

/** A write takes the id that the caller gave, for calls that may come twice. */
const write: Check = (value) => {
  const given = value as Write
  const id = uuid(given.id, 'id')
  if (given.kind === 'update_export') {
    return { kind: given.kind, id, export: uuid(given.export, 'id'), change: exportChange(given.change, '') }
  }
  const input = inputs[given.kind](given.input, '') as { id?: string }
  return { kind: given.kind, id: input.id ?? id, input }
}

/** Each kind of passphrase work with what it needs, by the name that the call gives it. */
const passphrases: Record<string, Record<string, string>> = {
  set_up: { next: 'passphrase' },
  unlock: { current: 'passphrase' },
  rotate: { current: 'current' },
  change: { current: 'current', next: 'next' },
  rewrap: { current: 'current', next: 'next' },
  recover: { code: 'code', next: 'next' },
  recover_rewrap: { code: 'code', next: 'next' },
}

const passphraseWork: Check = (value) => {
  const given = value as Record<string, unknown>
  const needs = Object.entries(passphrases[String(given.kind)] ?? {})
  return { kind: given.kind, ...Object.fromEntries(needs.map(([field, name]) => [field, text(given[field], name)])) }
}

const provider = oneOf<ApiProvider>({ openai: 0, unsplash: 0, anthropic: 0 })

/** For each call its arguments: what they are called, and what they must be. */
const table: { [M in Method]: [name: string, check: Check][] } = {
  write: [['', write]],
  progress: [],
  activity: [
    ['from', day],
    ['to', day],
  ],
  exports: [['', exportQuery]],
  export: [['id', uuid]],
  pending: [],
  rejected: [],
  queue: [
    ['limit', integer],
    ['known', (value) => json(value, 'known')],
  ],
  retry: [['id', uuid]],
  discard: [['id', uuid]],
  retryAll: [],
  discardAll: [],
  status: [],
  diagnostics: [],
  sync: [],
  signal: [['name', oneOf({ online: 0, offline: 0, visible: 0, new_token: 0 })]],
  setOnline: [['online', boolean]],
  lookAtStorage: [],
  keysStatus: [],
  keysWork: [['', passphraseWork]],
  keysLock: [],
  keysGenerate: [],
  keysLockAfter: [['millis', millis]],
  keysPut: [
    ['provider', provider],
    ['key', text],
  ],
  keysOpen: [['provider', provider]],
  keysRemove: [['provider', provider]],
  keysValidated: [],
  keysRecoveryCode: [],
  keysRemember: [],
  keysUnlockRemembered: [],
  keysForget: [],
  keysReset: [],
}

/** The arguments of a call as plain data of its own. Throws `invalid_input`. */
export function checkArguments<M extends Method>(method: M, args: unknown[]): Args<M> {
  if (!Object.hasOwn(table, method)) {
    throw new MareaError('app_outdated', 'The tab that leads has an older version of this app; reload it there.', false)
  }
  try {
    return table[method].map(([name, check], index) => check(args[index], name)) as Args<M>
  } catch (error) {
    // A getter that throws, a proxy that was revoked: the caller's own code.
    throw error instanceof MareaError ? error : refusal(method, 'its arguments could not be read')
  }
}

const passphraseOptions = record<PassphraseOptions>('the options', { rewrapOnly: boolean })

/** Whether the data key is to stay. A word in the place of `false` must not leave it. */
export function checkRewrapOnly(options: unknown): boolean {
  return (passphraseOptions(options, '') as PassphraseOptions).rewrapOnly === true
}

/** What is to be called back. */
export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw unexpected(name, 'a function', value)
}
