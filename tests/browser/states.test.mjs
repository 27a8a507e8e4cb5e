// What onError and the spans take for a state is what the engine takes for one.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { transform } from 'esbuild'

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

test('the codes of a network that is away are those of the engine', async () => {
  const { code } = await transform(read('wasm/js/states.ts'), { loader: 'ts' })
  const { STATES } = await import(`data:text/javascript,${encodeURIComponent(code)}`)
  const [, list] = /OFFLINE_CODES: \[&str; \d+\] = \[([^\]]*)\]/.exec(read('core/src/sync/failure.rs'))
  assert.deepEqual(STATES, [...list.matchAll(/"(\w+)"/g)].map(([, name]) => name).concat('token_unavailable'))
})
