// `node wasm/api/fields.mjs` writes docs/FIELDS.md: every field of every value that crosses the package's face, from the declarations that are
// made of the Rust types; `--check` only compares. It needs the built module (`cargo xtask wasm`).

import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const [declared, target] = ['../pkg/marea_wasm.d.ts', '../../docs/FIELDS.md'].map((path) => fileURLToPath(new URL(path, import.meta.url)))

/** What an app gives, what it gets, and what neither is: the package's own business, or written elsewhere. */
const GIVEN = ['SessionInput', 'EventInput', 'ExportInput', 'ExportChange', 'ExportQuery', 'ListQuery', 'FileInput', 'GuestInput', 'ImportItem']
const INTERNAL = ['InitOutput', 'TableChanges']
// Aliases of the engine's own, and of the glue.
const OTHER_TYPES = ['Write', 'Table', 'InitInput', 'SyncInitInput', 'KeyEnvelope']

const HEAD = `# Fields

Made by \`node wasm/api/fields.mjs\` from the types of the engine; a test compares. The same values are in the browser (TypeScript), in C (JSON) and
from \`marea --json\`. Columns of tables of your own: [WEB.md](WEB.md#values).

A name with \`?\` may be left out of what you write. What you read always has all of its fields; \`| undefined\` is one that may have no value
(in JSON: \`null\`, or absent).
`

const text = readFileSync(declared, 'utf8')
const interfaces = [...text.matchAll(/(?:^\/\*\*\n((?: \*.*\n)*?) \*\/\n)?^export interface (\w+)(?: extends ([\w, ]+))? \{(?:\}|\n([\s\S]*?)^\})$/gm)].map(
  ([, doc, name, parents, body]) => ({ name, doc: prose(doc), parents, fields: fieldsOf(body ?? '') }),
)
const types = [...text.matchAll(/(?:^\/\*\*\n((?: \*.*\n)*?) \*\/\n)?^export type (\w+) = ([^;]*);$/gm)].map(([, doc, name, value]) => ({ name, doc: prose(doc), value }))

function fieldsOf(body) {
  return [...body.matchAll(/(?: {4}\/\*\*\n((?: {5}\*.*\n)*?) {5}\*\/\n)? {4}(\w+)(\??): (.*);\n/g)].map(([, doc, name, optional, type]) => ({
    name: name + optional,
    type,
    doc: prose(doc),
  }))
}

function prose(doc = '') {
  return doc.replace(/^ *\* ?/gm, '').trim().replace(/\s*\n\s*/g, ' ')
}

const cell = (words) => words.replaceAll('|', '\\|')
// A link of Rust's documentation is a name here.
const plain = (words) => words.replace(/\[(`[^`]*`)\](?:\([^)]*\))?/g, '$1')

function section({ name, doc, parents, fields }) {
  const rows = fields.map((field) => `| \`${field.name}\` | \`${cell(field.type)}\` | ${cell(plain(field.doc))} |`)
  const all = parents ? `\nAll of ${parents.split(/, */).map((parent) => `[\`${parent}\`](#${parent.toLowerCase()})`).join(' and ')}.\n` : ''
  const table = rows.length > 0 ? `\n| field | type | meaning |\n| --- | --- | --- |\n${rows.join('\n')}\n` : ''
  return `\n### ${name}\n\n${plain(doc)}\n${all}${table}`
}

const shown = interfaces.filter(({ name }) => !INTERNAL.includes(name) && !name.startsWith('_'))
const part = (title, chosen) => `\n## ${title}\n${chosen.slice().sort((one, other) => (one.name < other.name ? -1 : 1)).map(section).join('')}`
const plainTypes = types
  .filter(({ name }) => !OTHER_TYPES.includes(name))
  .slice().sort((one, other) => (one.name < other.name ? -1 : 1))
  .map(({ name, doc, value }) => `| \`${name}\` | \`${cell(value)}\` | ${cell(plain(doc))} |`)

const page = `${HEAD}
## Formats and words

| type | written as | meaning |
| --- | --- | --- |
${plainTypes.join('\n')}
${part('What you give', shown.filter(({ name }) => GIVEN.includes(name)))}${part('What you get', shown.filter(({ name }) => !GIVEN.includes(name)))}`

const nameless = shown.flatMap(({ name, parents, fields }) => (fields.length === 0 && !parents ? [name] : fields.filter(({ doc }) => doc === '').map((field) => `${name}.${field.name}`)))
if (nameless.length > 0) {
  console.error(`without a word of documentation: ${nameless.join(', ')}`)
  process.exit(1)
}
if (!process.argv.includes('--check')) writeFileSync(target, page)
else if (readFileSync(target, 'utf8') !== page) {
  console.error('docs/FIELDS.md is out of date: node wasm/api/fields.mjs')
  process.exit(1)
}
