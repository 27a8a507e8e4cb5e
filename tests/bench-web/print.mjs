// The figures for a person: on the terminal, or in the document about peers.

import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const DOCUMENT = fileURLToPath(new URL('../../docs/PEERS.md', import.meta.url))
const [BEGIN, END] = ['<!-- measured -->', '<!-- end of measured -->']

export const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]

const ms = (value) => (value < 10 ? `${value.toFixed(2)} ms` : `${value.toFixed(0)} ms`)

/** Tables, each with its title, its head and its rows. */
function tablesOf(figures, { writes, rows, durability }) {
  const tables = []
  const table = (title, head, lines) => tables.push({ title, head, lines })
  if (figures.writes) {
    const base = figures.writes.sqlite
    const lines = Object.entries(figures.writes).map(([store, seen]) => [
      store,
      ms(seen.serial),
      `x ${(seen.serial / base.serial).toFixed(2)}`,
      ms(seen.atOnce),
      `1/${(seen.serial / seen.atOnce).toFixed(1)}`,
      ms(seen.p50),
      ms(seen.p99),
      durability[store],
    ])
    const head = ['store', 'in turn', 'of sqlite', 'at once', 'of in turn', 'read p50', 'read p99', 'a write is']
    table(`${writes} sessions written from the page, and the count read`, head, lines)
  }
  if (figures.reads) {
    const lines = Object.entries(figures.reads).map(([role, seen]) => [role, ms(seen.p50), ms(seen.p99)])
    table('progress() from the page', ['tab', 'p50', 'p99'], lines)
  }
  if (figures.openToProgressMs !== undefined) table('open() to first progress(), warm', ['store', 'took'], [['marea', ms(figures.openToProgressMs)]])
  if (figures.coldStart) {
    const { bytes, ...visits } = figures.coldStart
    const lines = Object.entries(visits).map(([how, took]) => [how, ms(took), `x ${(took / bytes).toFixed(2)}`])
    table(`a first visit over 400 kbps with 400 ms of latency, to the first progress(); its bytes as one file: ${ms(bytes)}`, ['page', 'took', 'of one file'], lines)
  }
  if (figures.downloads) {
    const lines = Object.entries(figures.downloads).map(([store, seen]) => [store, seen.raw, seen.gzip])
    table('what a browser downloads for it, in bytes, bundled and minified', ['store', 'as it is', 'gzipped'], lines)
  }
  if (figures.firstSync) {
    const lines = Object.entries(figures.firstSync).map(([store, seen]) => [
      store,
      ms(seen.elapsed),
      seen.rows,
      Math.round((seen.rows / seen.elapsed) * 1000),
      seen.rows === rows ? '' : `has ${seen.rows} of ${rows} and says that it is done`,
    ])
    table(`first sync of ${rows} exports through PostgREST`, ['store', 'took', 'rows', 'rows/s', ''], lines)
  }
  if (figures.mirroredTable) {
    const { elapsed, rows, p50, p99 } = figures.mirroredTable
    const title = `first sync of ${rows} rows of a mirrored table with ten columns, and pages of 50 of them by an index, asked from the page`
    table(title, ['store', 'took', 'rows/s', 'list p50', 'list p99'], [['marea', ms(elapsed), Math.round((rows / elapsed) * 1000), ms(p50), ms(p99)]])
  }
  if (figures.correctness) {
    const lines = Object.entries(figures.correctness).map(([name, { right, ...stores }]) => [name, right, ...Object.values(stores)])
    const [first] = Object.values(figures.correctness)
    const { right: _, ...stores } = first
    table('what is left of a learner\'s words when things go wrong', ['case', 'right', ...Object.keys(stores)], lines)
  }
  return tables
}

export function printTable(figures, how) {
  console.log(`Chromium ${figures.chromium}, medians of ${figures.rounds} rounds`)
  for (const { title, head, lines } of tablesOf(figures, how)) {
    console.log(`\n${title}`)
    const all = [head, ...lines]
    const widths = head.map((_, column) => Math.max(...all.map((row) => String(row[column]).length)))
    for (const row of all) console.log(`  ${row.map((cell, column) => String(cell).padEnd(widths[column])).join('  ').trimEnd()}`)
  }
}

/** Puts what does not depend on a machine where the document about peers has its last tables. */
export function writeDocument({ chromium, downloads, correctness }, how) {
  const row = (cells) => `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`
  const parts = tablesOf({ downloads, correctness }, how).map(({ title, head, lines }) => {
    const words = `**${title[0].toUpperCase()}${title.slice(1)}**`
    return [words, '', row(head), row(head.map(() => '---')), ...lines.map(row)].join('\n')
  })
  const said = `Chromium ${chromium}, ${new Date().toISOString().slice(0, 10)}.`
  const text = readFileSync(DOCUMENT, 'utf8')
  const [before, rest] = text.split(BEGIN)
  const after = rest?.split(END)[1]
  if (after === undefined) throw new Error(`${DOCUMENT} has no ${BEGIN} with ${END} behind it`)
  writeFileSync(DOCUMENT, [before, BEGIN, '\n\n', said, '\n\n', parts.join('\n\n'), '\n\n', END, after].join(''))
}
