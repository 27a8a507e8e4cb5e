// The documents that go with the package, for people without a network and for programs that read: `dist/docs/`, and `dist/llms.txt`, which
// lists them (https://llmstxt.org). Made from the documents themselves: a title is a document's first line, a summary its first paragraph.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'

const DOCUMENTS = [
  'wasm/README.md',
  ...['WEB', 'FIELDS', 'TABLES', 'ADAPTERS', 'UNIT_TESTS', 'SIGN_IN', 'GUESTS', 'BUNDLERS', 'DEVTOOLS', 'FILES', 'NODE', 'PROTOCOL', 'VAULT'].map((name) => `docs/${name}.md`),
]

/** Writes both, from the repository at `root`. */
export function writeDocuments(root, dist) {
  const folder = join(dist, 'docs')
  mkdirSync(folder, { recursive: true })
  const known = new Set(DOCUMENTS.map((path) => basename(path)))
  const lines = []
  for (const path of DOCUMENTS) {
    const text = readFileSync(join(root, path), 'utf8')
    const [name, title] = [basename(path), /^# (.*)$/m.exec(text)[1]]
    // The first paragraph, up to its first full stop.
    const summary = /^# .*\n+([^]*?[.:])(?:\s|$)/.exec(text)[1].replaceAll(/\s+/g, ' ').replace(/:$/, '.')
    lines.push(`- [${title}](docs/${name}): ${plain(summary)}`)
    writeFileSync(join(folder, name), linked(text, known))
  }
  const skill = '- [Skill](../skills/marea/SKILL.md): how to add Marea to an app, on one page.'
  writeFileSync(join(dist, 'llms.txt'), `# @marea/client\n\n> ${purpose(root)}\n\n## Start\n\n${skill}\n\n## Documents\n\n${lines.join('\n')}\n`)
}

/** Links between the documents that are here stay links; of others the words stay. */
function linked(text, known) {
  return text.replaceAll(/(!?)\[([^\]]*)\]\((?!https?:|#)([^)#]*)(#[^)]*)?\)/g, (_, image, words, path, anchor = '') => {
    const name = basename(path)
    if (image) return ''
    return known.has(name) ? `[${words}](${name}${anchor})` : words
  })
}

const plain = (text) => text.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')

function purpose(root) {
  return JSON.parse(readFileSync(join(root, 'wasm', 'package.json'), 'utf8')).description
}
