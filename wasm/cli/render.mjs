// A catalogue as a file: JSON alone, or a TypeScript module with the types of its tables. The same catalogue gives the same text.

import { checkCatalogue } from './document.mjs'

/** What a row holds, by the column's type; where writing takes more than that, what it takes too. */
const TYPES = {
  text: { row: 'string' },
  uuid: { row: 'string' },
  smallint: { row: 'number' },
  integer: { row: 'number' },
  bigint: { row: 'string', input: 'string | number | bigint' },
  numeric: { row: 'string', input: 'string | number' },
  real: { row: 'Float' },
  double: { row: 'Float' },
  boolean: { row: 'boolean' },
  date: { row: 'string' },
  time: { row: 'string' },
  timestamp: { row: 'string' },
  timestamptz: { row: 'string', input: 'string | Date' },
  json: { row: 'Json' },
  jsonb: { row: 'Json' },
  bytea: { row: 'string', input: 'string | Uint8Array' },
  'text[]': { row: '(string | null)[]', input: 'readonly (string | null)[]' },
  'uuid[]': { row: '(string | null)[]', input: 'readonly (string | null)[]' },
  'integer[]': { row: '(number | null)[]', input: 'readonly (number | null)[]' },
}

/** The JSON of a catalogue, a line for each column. It is read back by {@link documentIn}. */
export function renderJson({ version, hash, tables }) {
  const listed = tables.map(({ columns, ...table }) => {
    const lines = columns.map((column) => `        ${line(column)}`).join(',\n')
    return `    ${line(table).slice(0, -2)},\n      "columns": [\n${lines}\n      ] }`
  })
  const all = listed.length > 0 ? `[\n${listed.join(',\n')}\n  ]` : '[]'
  return `{ "version": ${version},\n  "hash": "${hash}",\n  "tables": ${all} }\n`
}

const line = (object) => `{ ${Object.entries(object).map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`).join(', ')} }`

export function renderTypeScript(catalogue) {
  const tables = catalogue.tables.map(renderTable).join('')
  const used = ['Catalogue', ...['Float', 'Json'].filter((name) => new RegExp(`\\b${name}\\b`).test(withoutTexts(tables)))]
  return `// Written by \`npx marea-client schema\` from the server's catalogue; write it again after a migration, do not edit it.
/* eslint-disable */

import type { ${used.join(', ')} } from '@marea/client'

/** For \`open({ schema })\`. */
export const schema = ${renderJson(catalogue).trimEnd()} as const satisfies Catalogue

/**
 * What each table's rows hold, and what its operations take. What the server fills in (a default, a column of its own) is null in a row
 * that was made here, until the server has answered.
 */
export interface Schema {
${tables}}

declare module '@marea/client' {
  interface Register {
    schema: Schema
  }
}
`
}

/** Labels may be called as a type is. */
const withoutTexts = (text) => text.replace(/"(?:[^"\\]|\\.)*"/g, '')

function renderTable({ name, key, write, columns }) {
  const ofRule = (...rules) => (write === false ? [] : columns.filter(({ rule }) => rules.includes(rule)))
  const parts = {
    Row: columns.map((column) => member(column, false, orNull(rowType(column), write !== false ? asItMayBe(column) : column, key))),
    Insert: ofRule('key', 'register', 'once', 'counter', 'union').map((column) => {
      return member(column, isOptional(column, key), orNull(inputType(column), column, key))
    }),
    Update: ofRule('register', 'union').map((column) => member(column, true, orNull(inputType(column), column, key))),
    Add: ofRule('counter').map((column) => member(column, true, inputType(column))),
  }
  const rendered = Object.entries(parts).map(([part, members]) => {
    return members.length > 0 ? `    ${part}: {\n${members.join('')}    }\n` : `    ${part}: never\n`
  })
  return `  ${name}: {\n${rendered.join('')}  }\n`
}

const member = ({ name }, isOptional, type) => `      ${property(name)}${isOptional ? '?' : ''}: ${type}\n`

const property = (name) => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name))

const rowType = (column) => special(column) ?? TYPES[column.type]?.row ?? 'unknown'
const inputType = (column) => special(column) ?? TYPES[column.type]?.input ?? rowType(column)

function special({ type, rule, labels }) {
  if (type === 'enum') return labels.length > 0 ? labels.map((label) => JSON.stringify(label)).join(' | ') : 'never'
  return rule === 'union' ? '{ [key: string]: Json }' : null
}

/** What the server fills in is not there until it has: null, in a row that was made here. */
const asItMayBe = (column) => (column.rule === 'server' || column.default ? { ...column, nullable: true } : column)

const isNullable = (column, key) => column.nullable !== false && column.name !== key

function orNull(type, column, key) {
  return isNullable(column, key) && type !== 'unknown' ? `${type} | null` : type
}

/** A key of uuids is made on the device. */
function isOptional(column, key) {
  if (column.name === key) return column.type === 'uuid'
  return column.default === true || isNullable(column, key)
}

/** The catalogue in a file that was written here; null where there is none to be read. */
export function documentIn(text) {
  const literal = /^export const schema = (\{.*?\}) as const satisfies Catalogue$/ms.exec(text)?.[1] ?? text
  try {
    return checkCatalogue(JSON.parse(literal))
  } catch {
    return null
  }
}
