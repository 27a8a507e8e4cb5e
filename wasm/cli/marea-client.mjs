#!/usr/bin/env node
// The command that comes with the package: `npx marea-client init`, `npx marea-client schema`. Plain Node 20, no dependency.
//
// Exit codes are those of `marea`: 0 done, 1 failed (or, with `--check`, different), 2 the command line is wrong, 3 offline.

import { parseArgs } from 'node:util'
import { Failure } from './failure.mjs'
import { TOOL_NAMES, runInit } from './init.mjs'
import { FRAMEWORKS } from './starter.mjs'
import { shown } from './shown.mjs'
import { runSchema } from './schema.mjs'

const HELP = `Usage: marea-client init [--tool TOOL] [--framework NAME] [--dir DIR] [--url URL --key KEY]
       marea-client schema --url URL --key KEY [--out FILE] [--check]

init adds Marea's SQL to the project, as its migration tool wants it, a schema module, a first component and the names of the
environment. Run again, it adds what is missing and changes nothing that is there.

  --tool TOOL        ${TOOL_NAMES.join(', ')}; found by the project's files unless it is given
  --framework NAME   ${FRAMEWORKS.join(', ')}; found in package.json unless it is given
  --dir DIR          the project's folder, this one unless it is given

schema:

Writes what the server says of its mirrored tables as a module for open({ schema }): the catalogue, and TypeScript types.

  --url URL    where Supabase or PostgREST is served, without /rest/v1 (or MAREA_URL)
  --key KEY    the project's anon or publishable key (or MAREA_KEY)
  --out FILE   marea.schema.ts unless it is given; a name that ends in .json gets the catalogue alone
  --allow-http lets the server be another machine by http:// (or MAREA_ALLOW_HTTP=1)
  --check      writes nothing; exits with 1 when the file is not what would be written, and shows what differs

Exit codes: 0 done, 1 failed or different, 2 the command line is wrong, 3 offline.
`

const OPTIONS = {
  url: { type: 'string' },
  key: { type: 'string' },
  'anon-key': { type: 'string' },
  out: { type: 'string' },
  check: { type: 'boolean' },
  tool: { type: 'string' },
  framework: { type: 'string' },
  dir: { type: 'string' },
  'allow-http': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
}

async function main(args) {
  let parsed
  try {
    parsed = parseArgs({ args, options: OPTIONS, allowPositionals: true, strict: true })
  } catch (error) {
    throw new Failure(2, error.message)
  }
  const { values, positionals } = parsed
  const [command, ...others] = positionals
  if (values.help || command === 'help') return console.log(HELP)
  if (!command) throw new Failure(2, HELP)
  if (!['init', 'schema'].includes(command) || others.length > 0) {
    throw new Failure(2, `unknown command: ${positionals.join(' ')}\n\n${HELP}`)
  }
  const url = values.url ?? process.env.MAREA_URL
  const key = values.key ?? values['anon-key'] ?? process.env.MAREA_KEY ?? process.env.MAREA_ANON_KEY
  const { MAREA_ALLOW_HTTP: allowed = '' } = process.env
  const allowHttp = values['allow-http'] ?? !['', '0', 'no', 'false', 'off', 'n', 'f'].includes(allowed.toLowerCase())
  const say = (line) => line && console.log(shown(line))
  if (command === 'init') {
    const { tool, framework, dir: root = '.' } = values
    return runInit({ root, tool, framework, url, key, say })
  }
  const { out = 'marea.schema.ts', check = false } = values
  await runSchema({ url, key, allowHttp, out, check, say })
}

main(process.argv.slice(2)).catch((error) => {
  if (!(error instanceof Failure)) throw error
  console.error(shown(error.message))
  process.exitCode = error.exitCode
})
