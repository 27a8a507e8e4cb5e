// Marea's own writers, as the package has them: for the same mirror the same bytes as the desktop's (native/src/export).

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mock, test } from 'node:test'
import { createExportFile, makeExportFile } from '../../wasm/dist/writers.js'

const shared = JSON.parse(readFileSync(new URL('../fixtures/exports.json', import.meta.url), 'utf8'))
const { name: TABLE, key } = shared.table

/** A mirror that holds what the fixture says, a row a page. */
const mirror = {
  today: () => shared.day,
  progress: async () => shared.progress,
  activity: async (from, to) => shared.activity.filter(({ day }) => from <= day && day <= to),
  exports: async ({ after }) => {
    const at = after ? shared.exports.findIndex(({ id }) => id === after.id) + 1 : 0
    const { id, created_at } = shared.exports[at]
    return { exports: [shared.exports[at]], ...(at + 1 < shared.exports.length && { next: { id, created_at } }) }
  },
  catalogue: async () => ({ version: 1, hash: '', tables: [shared.table] }),
  table: (name) => ({
    list: async ({ after }) => (name === TABLE ? shared.rows.filter((row) => !after || row[key] > after) : []),
  }),
}

test('the same mirror gives the same bytes everywhere', async (t) => {
  // Two in the morning, where days begin at four.
  mock.timers.enable({ apis: ['Date'], now: new Date(Date.parse(`${shared.day}T02:00:00`) + 86_400_000) })
  t.after(() => mock.timers.reset())
  let compared = 0
  for (const type of ['progress', 'activity', 'exports', TABLE]) {
    for (const [ending, options] of Object.entries({
      csv: { format: 'csv' },
      'bom.csv': { format: 'csv', byteOrderMark: true },
      jsonl: { format: 'jsonl' },
      html: { format: 'html' },
    })) {
      const { file } = await makeExportFile(mirror, { type, ...options })
      const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(await file.arrayBuffer())
      assert.equal(text, shared.files[`${type}.${ending}`], `${type}.${ending}`)
      compared++
    }
  }
  assert.equal(compared, Object.keys(shared.files).length)
})

test('an export is made of it, which says how many records it has', async () => {
  const asked = []
  const marea = {
    ...mirror,
    createExport: async (input) => (asked.push(input), { id: '1' }),
    updateExport: async (id, change) => void asked.push([id, change]),
  }
  assert.deepEqual(await createExportFile(marea, { type: TABLE, format: 'jsonl' }), { id: '1' })
  assert.deepEqual([asked[0].export_type, asked[0].export_format, asked[0].file.type], [TABLE, 'jsonl', 'application/x-ndjson'])
  assert.deepEqual(asked[1], ['1', { records_count: shared.rows.length }])
})
