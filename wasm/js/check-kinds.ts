// The kinds of values that a call may take: each check gives a copy that is plain JSON, or an error that names the field and says
// what was expected and what came.
//
// What came is told by its kind and never quoted, a number that is expected to be one apart: it may be a learner's, or a secret.

import { MareaError } from './errors.js'

/** Gives the copy, or refuses the value of this path. */
export type Check = (value: unknown, path: string) => unknown
type Fields<T> = { [K in keyof Required<T>]: Check }

// The engine reads no deeper JSON; and where an object leads back to itself, this is where it ends.
const MAX_DEPTH = 100

export function refusal(path: string, problem: string): MareaError {
  return new MareaError('invalid_input', `${path}: ${problem}`, false)
}

export function unexpected(path: string, expected: string, value: unknown): MareaError {
  return refusal(path, `expected ${expected}, got ${kindOf(value)}`)
}

/** The class of an object, also of one from another frame. A proxy of a date says that it is a plain object, and is none. */
export const classOf = (value: unknown): string =>
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
export function timeOf(date: unknown): string | null {
  try {
    return Date.prototype.toISOString.call(date)
  } catch {
    return null
  }
}

export const text: Check = (value, path) => {
  if (typeof value !== 'string') throw unexpected(path, 'text', value)
  // Half of a surrogate pair is no character of Unicode: neither JSON nor Postgres takes it.
  if (/\p{Surrogate}/u.test(value)) throw refusal(path, 'holds half of a character (a lone surrogate)')
  return value
}

/** Text of a form. */
export const formed = (expected: string, fits: (text: string) => boolean): Check => (value, path) => {
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

export const uuid = formed('a UUID', (text) => UUID.test(text))
export const day = formed('a calendar day written YYYY-MM-DD', (text) => DAY.test(text) && isDay(text))
const instantText = formed('a time with an offset, like 2026-11-23T12:00:00Z', (text) => isDay(INSTANT.exec(text)?.[1] ?? ''))
export const instant: Check = (value, path) => instantText(classOf(value) === 'Date' ? (timeOf(value) ?? value) : value, path)

export const integer: Check = (value, path) => {
  if (typeof value !== 'number') throw unexpected(path, 'an integer', value)
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 31) return value
  throw refusal(path, `expected an integer${Number.isInteger(value) ? ' below 2^31' : ''}, got ${value}`)
}

export const byteCount: Check = (value, path) => {
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value)
  if (typeof value === 'string' && /^-?\d{1,19}$/.test(value)) return value
  throw unexpected(path, 'a whole number of bytes, as text where it may pass 2^53', value)
}

export const boolean: Check = (value, path) => {
  if (typeof value !== 'boolean') throw unexpected(path, 'true or false', value)
  return value
}

export const millis: Check = (value, path) => {
  if (value === null || (typeof value === 'number' && value >= 0 && value < Infinity)) return value
  throw unexpected(path, 'milliseconds, 0 or more, or null', value)
}

export const oneOf = <T extends string>(names: Record<T, 0>): Check => {
  const expected = `one of ${Object.keys(names).join(', ')}`
  return formed(expected, (text) => Object.hasOwn(names, text))
}

export const texts: Check = (value, path) => {
  if (!Array.isArray(value)) throw unexpected(path, 'a list of texts', value)
  return Array.from(value, (part, index) => text(part, `${path}[${index}]`))
}

/** Free-form JSON of the app's own. A member that is `undefined` is one that is not there, as in `JSON.stringify`. */
export function json(value: unknown, path: string, depth = 0): unknown {
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

export const jsonObject: Check = (value, path) => json(objectOf(value, path), path)

export function objectOf(value: unknown, path: string): Record<string, unknown> {
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
export const record = <T>(name: string, fields: Fields<T>, { required = [], loose = false }: Shape = {}): Check => {
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

/** Reads what a caller gave: a getter that throws, or a proxy that was revoked, is the caller's own code. */
export function readable<T>(path: string, read: () => T, problem = 'could not be read'): T {
  try {
    return read()
  } catch (error) {
    throw error instanceof MareaError ? error : refusal(path, problem)
  }
}

/** What is to be called back. */
export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw unexpected(name, 'a function', value)
}
