// The SQL's reference, from the comments that its objects have in Postgres too.

import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const COMMENT = /^COMMENT ON (FUNCTION|PROCEDURE|TABLE|VIEW|COLUMN) (\S+?)(\([^;]*?\))? IS\s+((?:'(?:[^']|'')*'\s*)+);/gm
const KINDS = { FUNCTION: 'Functions', PROCEDURE: 'Procedures', TABLE: 'Tables', VIEW: 'Views' }

/** `folder` holds the topics, one file each. */
export function sqlReference(folder) {
  const found = readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort()
    .flatMap((name) => [...readFileSync(join(folder, name), 'utf8').matchAll(COMMENT)].map(([, kind, name, args = '', text]) => ({ kind, name, args, text: words(text) })))
  const columns = found.filter(({ kind }) => kind === 'COLUMN')
  const parts = Object.entries(KINDS).map(([kind, title]) => {
    const all = found.filter((each) => each.kind === kind).sort((a, b) => (a.name < b.name ? -1 : 1))
    return `## ${title}\n\n${all.map((each) => entry(each, columns)).join('\n')}`
  })
  return `::: v-pre

# SQL

What the migrations make, with the comments that the objects have in Postgres (\`\\d+\`, \`\\df+\`). Apps call \`public.marea_sync\` through the client alone; the functions of schema \`marea\`
that are meant for people are in [operations](/docs/migrations/OPERATIONS.md).

${parts.join('\n\n')}

:::
`
}

function entry({ name, args, text, kind }, columns) {
  const own = kind === 'TABLE' || kind === 'VIEW' ? columns.filter((column) => column.name.startsWith(`${name}.`)) : []
  const rows = own.map((column) => `| \`${column.name.slice(name.length + 1)}\` | ${column.text} |`)
  const table = rows.length > 0 ? `\n| column | what it is |\n| --- | --- |\n${rows.join('\n')}\n` : ''
  return `### \`${name}${args}\`\n\n${text}\n${table}`
}

/** Adjacent literals are one text. */
const words = (literals) =>
  [...literals.matchAll(/'((?:[^']|'')*)'/g)]
    .map(([, text]) => text.replaceAll("''", "'"))
    .join('')
    .replace(/\s+/g, ' ')
    .replaceAll('|', '\\|')
    .replaceAll('<', '&lt;')
