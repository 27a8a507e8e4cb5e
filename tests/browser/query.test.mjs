// An app's own SQL in the browser, whose SQLite is built with less: each statement of the list that the desktop's engine is tested
// with must end alike here, and none may stop the engine.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { servePage, startBrowser } from './harness.mjs'

const path = (name) => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const cases = JSON.parse(readFileSync(path('core/src/engine/tests/query_cases.json'), 'utf8'))

let stage, browser
before(async () => {
  stage = { backend: { url: 'http://127.0.0.1:9', anon_key: 'anon' }, ...(await servePage({ '/pkg/': path('wasm/pkg') })) }
  browser = await startBrowser(stage)
})

/** Runs the statements on one engine in the page, which has two sessions of one day. */
async function run(t, statements) {
  const page = await browser.newPage(t)
  return await page.evaluate(
    async ({ user, statements }) => {
      const { default: start, MareaEngine } = await import('/pkg/marea_wasm.js')
      await start({ module_or_path: '/marea/marea_wasm_bg.wasm' })
      const nothing = () => undefined
      const engine = await MareaEngine.open('http://127.0.0.1:9', 'anon', user, 'memory', false, () => null, nothing)
      const session = (minutes) => ({
        kind: 'record_session',
        id: crypto.randomUUID(),
        input: { session_type: 'qa', duration_minutes: minutes, ended_at: '2025-11-23T12:00:00.000000Z', local_date: '2025-11-23' },
      })
      for (const minutes of [10, 20]) {
        const [outcome] = engine.write([session(minutes)])
        if (outcome instanceof Error) throw outcome
      }
      return statements.map(({ sql, params = [] }) => {
        const start = performance.now()
        try {
          return { ...JSON.parse(engine.query(sql, JSON.stringify(params))), ms: performance.now() - start }
        } catch (error) {
          return { code: error.code ?? 'stopped', message: String(error), ms: performance.now() - start }
        }
      })
    },
    { user: randomUUID(), statements },
  )
}

test('each statement ends as it does on the desktop, and the engine goes on', async (t) => {
  const outcomes = await run(t, cases)
  const wrong = cases.flatMap((wanted, at) => {
    const outcome = outcomes[at]
    const fits = wanted.code
      ? wanted.code.split('|').includes(outcome.code)
      : JSON.stringify(outcome.rows) === JSON.stringify(wanted.rows)
    return fits ? [] : [{ ...wanted, outcome: outcome.code ? outcome.message : outcome.rows }]
  })
  assert.deepEqual(wrong, [])
  const slowest = Math.max(...outcomes.map(({ ms }) => ms))
  t.diagnostic(`${cases.length} statements, the slowest took ${slowest.toFixed(0)} ms`)
})

test('what is nested as deep as SQLite allows, or deeper, is answered or refused', async (t) => {
  const deep = (levels, open, inner, close) => ({ sql: `SELECT ${open.repeat(levels)}${inner}${close.repeat(levels)}` })
  const statements = [10, 50, 100, 150, 190, 250, 1_000, 5_000].flatMap((levels) => [
    deep(levels, '(', '1', ')'),
    deep(levels, 'abs(', '1', ')'),
    deep(levels, '1 + ', '1', ''),
    deep(levels, '-', '1', ' '),
    deep(levels, 'CASE WHEN 1 THEN ', '1', ' END'),
    deep(levels, '(SELECT ', '1', ')'),
    deep(levels, '* FROM (SELECT ', '1 AS a', ')'),
    deep(levels, '1 UNION ALL SELECT ', '1', ''),
    deep(levels, '1 WHERE EXISTS (SELECT ', '1', ')'),
    { sql: 'SELECT json(?)', params: [`${'['.repeat(levels)}${']'.repeat(levels)}`] },
    { sql: 'SELECT count(*) FROM json_tree(?)', params: [`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`] },
  ])
  const outcomes = await run(t, statements)
  for (const [at, outcome] of outcomes.entries()) {
    const told = outcome.rows || ['invalid_input', 'query_limit'].includes(outcome.code)
    assert.ok(told, `${statements[at].sql.slice(0, 60)}: ${outcome.message}`)
  }
})
