// A catalogue as it is written: checked, because its names become code, and with its members in one order, so that the same
// catalogue is the same text.

import { Failure } from './failure.mjs'

const TABLE_MEMBERS = ['name', 'schema', 'key', 'owner', 'write', 'columns']
const COLUMN_MEMBERS = ['name', 'type', 'rule', 'nullable', 'default', 'max', 'precision', 'scale', 'labels']

/** The catalogue in its written order. Throws for what is none. */
export function checkCatalogue(document) {
  if (!isObject(document) || !Array.isArray(document.tables)) throw notOne('it has no tables')
  if (document.version !== 1) {
    throw new Failure(1, `The server's catalogue has version ${JSON.stringify(document.version)}, and this package reads 1: update @marea/client.`)
  }
  if (!/^[\da-f]{1,64}$/.test(document.hash)) throw notOne('its hash is none')
  const tables = document.tables.map(checkTable)
  tables.sort((one, other) => (one.name < other.name ? -1 : 1))
  // What the enums of built-in tables may hold, where the app has any.
  const labels = isObject(document.labels) && Object.keys(document.labels).length > 0 ? { labels: inOrder(document.labels, []) } : {}
  return { version: 1, hash: document.hash, tables, ...labels }
}

function checkTable(table) {
  if (!isObject(table) || !/^[a-z_][a-z0-9_]*$/.test(table.name)) throw notOne('a table has no name')
  const { name, key, columns } = table
  if (!Array.isArray(columns)) throw notOne(`table ${name} has no columns`)
  const ordered = { ...inOrder(table, TABLE_MEMBERS), columns: columns.map((column) => checkColumn(name, column)) }
  if (!ordered.columns.some((column) => column.name === key && column.rule === 'key')) throw notOne(`table ${name} has no key`)
  return ordered
}

function checkColumn(table, column) {
  const isText = (value) => typeof value === 'string' && value !== ''
  if (!isObject(column) || !isText(column.name) || !isText(column.type) || !isText(column.rule)) {
    throw notOne(`table ${table} has a column that cannot be read`)
  }
  if (column.type === 'enum' && !(Array.isArray(column.labels) && column.labels.every((label) => typeof label === 'string'))) {
    throw notOne(`${table}.${JSON.stringify(column.name)} has no labels`)
  }
  return inOrder(column, COLUMN_MEMBERS)
}

/** The members that are known first, in their order; then what a newer server adds, by name. */
function inOrder(object, members) {
  const others = Object.keys(object).filter((name) => !members.includes(name)).sort()
  const given = [...members, ...others].filter((name) => object[name] !== undefined && object[name] !== null)
  return Object.fromEntries(given.map((name) => [name, object[name]]))
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)
const notOne = (problem) => new Failure(1, `The server's answer is no catalogue: ${problem}.`)
