// `node tests/apps/five-minutes.mjs` plays a newcomer's first minutes, by the clock: from an empty folder, and in an app that is there
// already, to a session that was recorded offline and is seen in Postgres. The commands are those that a person types, and they are run as they
// are written. `--write` records them, with their times, in docs/FIVE_MINUTES.md. It needs npm's registry, psql and Chromium; the package comes
// from its tarball (`cargo xtask package`), the project from the development backend, with the app's tables and nothing of Marea.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { steps } from '../../wasm/cli/init.mjs'
import { TOOLS } from '../../wasm/cli/tools.mjs'
import { startBrowser, startStage, waitFor } from '../browser/harness.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const BAR_SECONDS = 5 * 60
const BAR_LINES = 15
/** Forty words of five letters a minute: nobody's record. */
const LETTERS_A_SECOND = 40 * 5 / 60
const MIGRATIONS = ['006_repairs', '005_corrections', '004_operations', '003_backfill', '002_sync_layer', '001_add_missing_tables']

const APP = `import { supabase } from './marea'
import { Progress } from './Progress'

export default function App() {
  const signIn = () => supabase.auth.signInWithPassword({ email: 'learner1@example.com', password: 'marea-demo' })
  return (
    <>
      <button onClick={signIn}>Sign in</button>
      <Progress />
    </>
  )
}
`
/** The app that is there: it signs its learners in, and has no word of Marea. */
const EXISTING = `import { createClient } from '@supabase/supabase-js'

const supabase = createClient(import.meta.env.VITE_SUPABASE_URL, import.meta.env.VITE_SUPABASE_PUBLISHABLE_KEY)

export default function App() {
  const signIn = () => supabase.auth.signInWithPassword({ email: 'learner1@example.com', password: 'marea-demo' })
  return <button onClick={signIn}>Sign in</button>
}
`
const CHANGED = EXISTING.replace(/^import .*\n\nconst supabase.*\n/, "import { supabase } from './marea'\nimport { Progress } from './Progress'\n").replace(
  'return <button onClick={signIn}>Sign in</button>',
  'return <><button onClick={signIn}>Sign in</button><Progress /></>',
)

let stage, browser
const folder = mkdtempSync(join(tmpdir(), 'marea-five-minutes-'))
const stories = []
before(async () => {
  stage = await startStage()
  browser = await startBrowser(stage)
})
after(() => {
  rmSync(folder, { recursive: true, force: true })
  if (process.argv.includes('--write') || process.env.MAREA_WRITE) record()
})

/** A project as it is before Marea comes: users and sessions. */
async function withoutMarea() {
  for (const name of MIGRATIONS) await stage.database.query(readFileSync(`${root}migrations/${name}_rollback.sql`, 'utf8'))
  await stage.database.query('DELETE FROM public.sessions')
}

const said = async (command, cwd) => {
  const child = spawn('bash', ['-c', command], { cwd, env: environment(), stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (out += text))
  const code = await new Promise((resolve) => child.once('close', resolve))
  if (code !== 0) throw new Error(`${command}\n${out}`)
  return out
}

const environment = () => ({
  ...process.env,
  SUPABASE_URL: stage.backend.url,
  SUPABASE_KEY: stage.backend.publishable_key,
  DATABASE_URL: stage.backend.database_url,
  MAREA: `${root}target/npm/${readdirSync(`${root}target/npm`).find((name) => name.endsWith('.tgz'))}`,
})

/** Steps by the clock. What is written into a file counts as typed, too. */
function begin(title) {
  const story = { title, steps: [], lines: 0 }
  stories.push(story)
  return {
    async types(command, cwd) {
      const from = performance.now()
      await said(command, cwd)
      story.steps.push({ command, seconds: (performance.now() - from) / 1000, letters: command.length })
    },
    writes(path, text, changed) {
      writeFileSync(path, text)
      story.lines += changed.length
      story.steps.push({ command: `# in src/App.tsx:\n${changed.join('\n')}`, seconds: 0, letters: changed.join('\n').length })
    },
    async does(words, act) {
      const from = performance.now()
      const result = await act()
      story.steps.push({ command: `# ${words}`, seconds: (performance.now() - from) / 1000, letters: 0 })
      return result
    },
    end() {
      const total = story.steps.reduce((sum, { seconds, letters }) => sum + seconds + letters / LETTERS_A_SECOND, 0)
      story.total = total
      console.log(told(story))
      assert.ok(total <= BAR_SECONDS, `${Math.round(total)} s`)
      assert.ok(story.lines <= BAR_LINES, `${story.lines} lines of code`)
    },
  }
}

/** From the app's folder on, the same in both. */
async function recordsOffline(story, app) {
  let url
  await story.does('npm run dev', async () => {
    const child = spawn('npm', ['run', 'dev', '--', '--port', '0', '--host', '127.0.0.1'], { cwd: app, detached: true, stdio: ['ignore', 'pipe', 'inherit'] })
    after(() => process.kill(-child.pid))
    url = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const [, local] = /(http:\/\/127[^\s/]+)/.exec(line.replace(/\u001b\[\d+m/g, '')) ?? []
        if (local) resolve(local)
      })
      child.once('close', () => reject(new Error('the development server did not start')))
    })
  })
  const page = await browser.context.newPage()
  after(() => page.close().catch(() => undefined))
  const sessions = page.getByRole('button', { name: /sessions/ })
  await story.does('in the browser: sign in, switch the network off, record a session, switch it on', async () => {
    await page.goto(url)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.waitForFunction(() => [...document.querySelectorAll('button')].some(({ textContent, disabled }) => /^0 sessions/.test(textContent) && !disabled))
    await page.context().setOffline(true)
    await sessions.click()
    await waitFor('the session on the page', () => sessions.textContent(), (text) => text.startsWith('1 '))
    assert.equal((await stage.database.query('SELECT FROM public.sessions')).rowCount, 0)
    await page.context().setOffline(false)
    await waitFor('the session in Postgres', async () => (await stage.database.query('SELECT FROM public.sessions')).rowCount, (count) => count === 1)
  })
  await story.types('psql "$DATABASE_URL" -c "SELECT session_type, duration_minutes FROM sessions"', app)
}

/** As `init` says it. */
const INTO_THE_DATABASE = TOOLS.psql.next(steps()).replace(/^Next: /, '')

test('from an empty folder', async () => {
  await withoutMarea()
  const story = begin('From an empty folder')
  await story.types('npm create -y vite@latest progress -- --template react-ts --no-interactive', folder)
  const app = join(folder, 'progress')
  await story.types('npm install "$MAREA" @supabase/supabase-js', app)
  await story.types('npx marea-client init --tool psql --url "$SUPABASE_URL" --key "$SUPABASE_KEY"', app)
  await story.types(INTO_THE_DATABASE, app)
  story.writes(join(app, 'src/App.tsx'), APP, APP.trim().split('\n'))
  await recordsOffline(story, app)
  story.end()
})

test('in an app that is there', async () => {
  await withoutMarea()
  const app = join(folder, 'existing')
  await said('npm create -y vite@latest existing -- --template react-ts --no-interactive && cd existing && npm install @supabase/supabase-js', folder)
  writeFileSync(join(app, 'src/App.tsx'), EXISTING)
  writeFileSync(join(app, '.env.local'), `VITE_SUPABASE_URL=${stage.backend.url}\nVITE_SUPABASE_PUBLISHABLE_KEY=${stage.backend.publishable_key}\n`)
  const story = begin('In an app that signs its learners in with supabase-js')
  await story.types('npm install "$MAREA"', app)
  await story.types('npx marea-client init --tool psql', app)
  await story.types('psql -X -A -t -f node_modules/@marea/client/dist/sql/preflight.sql "$DATABASE_URL"', app)
  await story.types(INTO_THE_DATABASE, app)
  const lines = CHANGED.split('\n').filter((line) => line !== '' && !EXISTING.includes(line))
  story.writes(join(app, 'src/App.tsx'), CHANGED, lines)
  await recordsOffline(story, app)
  story.end()
})

function told({ title, steps, lines, total }) {
  const rows = steps.map(({ command, seconds, letters }) => {
    const [first, ...others] = command.split('\n')
    const time = seconds > 0 ? `   # ${seconds.toFixed(1)} s` : ''
    return first.startsWith('#') ? [`${first}${time}`, ...others.map((line) => `#     ${line}`)].join('\n') : `${command}${time}`
  })
  const ran = steps.reduce((sum, { seconds }) => sum + seconds, 0)
  return `## ${title}

\`\`\`sh
${rows.join('\n')}
\`\`\`

${Math.round(total)} s: ${Math.round(ran)} s of programs, ${Math.round(total - ran)} s of typing at 40 words a minute. ${lines} lines of code.
`
}

function record() {
  writeFileSync(
    `${root}docs/FIVE_MINUTES.md`,
    `# Five minutes

Written by \`node tests/apps/five-minutes.mjs --write\`, which types what stands here and measures it: to a session that was recorded without a network and
is seen in Postgres. The bar is five minutes and fifteen lines of code. Recorded on ${cpus().length} cores with Node ${process.versions.node}, against the development
backend in the place of a Supabase project, with the project's own \`users\` and \`sessions\` and nothing of Marea.

\`$SUPABASE_URL\`, \`$SUPABASE_KEY\` and \`$DATABASE_URL\` are the project's; \`$MAREA\` is the package (\`@marea/client\` once it is published, its tarball until then).

${stories.map(told).join('\n')}`,
  )
}
