// What a large file costs in a browser: printed, and not asserted. Not part of the tests; by hand:
// MAREA_FILE_MB=100 node --test tests/browser/file-figures.mjs

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { promisify } from 'node:util'
import { openMarea, startBrowser, startStage, waitFor } from './harness.mjs'

const MB = Number(process.env.MAREA_FILE_MB ?? 100)
const run = promisify(execFile)

let stage, browser
before(async () => {
  stage = await startStage()
  browser = await startBrowser(stage, { plain: true })
})

/** What all processes of this program's children have in memory, each shared page counted once. */
function chromiumBytes() {
  let sum = 0
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!/chrom/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0])) continue
      sum += Number(/^Pss: +(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024
    } catch {
      // It has ended.
    }
  }
  return sum
}

const mega = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`

test(`a file of ${MB} MB`, async (t) => {
  const size = MB * 1_000_000
  const learner = await stage.signUp()
  const page = await browser.newPage(t)
  await openMarea(page, stage, learner, { files: { quotaBytes: 1e9 } })
  await waitFor('the first sync', () => page.evaluate(() => window.marea.status()), ({ last_synced_at }) => last_synced_at)
  const before = chromiumBytes()
  let most = before
  const sampling = setInterval(() => (most = Math.max(most, chromiumBytes())), 100)
  const told = await page.evaluate(async (size) => {
    // A file as a learner picks one: its bytes are the browser's, not the page's.
    const part = crypto.getRandomValues(new Uint8Array(65_000))
    const file = new Blob(Array.from({ length: Math.ceil(size / part.length) }, () => part)).slice(0, size)
    let [longest, last] = [0, performance.now()]
    const ticking = setInterval(() => {
      longest = Math.max(longest, performance.now() - last - 4)
      last = performance.now()
    }, 4)
    const begun = performance.now()
    const { id } = await window.marea.createExport({ export_type: 'x', export_format: 'bin', file })
    const kept = performance.now()
    await window.marea.pauseFile(id, false)
    const beside = []
    for (;;) {
      const [at, { files }] = [performance.now(), await window.marea.status()]
      if (files.uploaded === 1) break
      await window.marea.recordSession({ session_type: 'qa' })
      await window.marea.sync()
      beside.push(performance.now() - at)
    }
    const sent = performance.now()
    const idle = []
    for (let count = 0; count < 10; count++) {
      const at = performance.now()
      await window.marea.recordSession({ session_type: 'qa' })
      await window.marea.sync()
      idle.push(performance.now() - at)
    }
    clearInterval(ticking)
    const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]
    return { id, keeping: kept - begun, sending: sent - kept, longest, beside: median(beside), idle: median(idle) }
  }, size)
  clearInterval(sampling)
  const { rows } = await stage.database.query(`SELECT (metadata ->> 'size')::int AS size FROM storage.objects WHERE name LIKE '%' || $1 || '%'`, [told.id])
  assert.equal(rows[0].size, size)

  const source = join(tmpdir(), `marea-figures-${process.pid}`)
  writeFileSync(source, randomBytes(size))
  t.after(() => rmSync(source))
  // The bucket's policy asks for the export's row.
  const id = await page.evaluate(() => window.marea.createExport({ export_type: 'x', export_format: 'bin' }).then(({ id }) => id))
  await page.evaluate(() => window.marea.sync())
  const to = `${stage.backend.url}/storage/v1/object/marea-exports/${learner.id}/${id}/${'0'.repeat(64)}.bin`
  const headers = ['-H', `authorization: Bearer ${learner.token}`, '-H', `apikey: ${stage.backend.anon_key}`, '-H', 'content-type: application/octet-stream']
  const { stdout } = await run('curl', ['-sS', '-f', '-o', '/dev/null', '-w', '%{time_total}', '-X', 'POST', ...headers, '-T', source, to])
  const curl = Number(stdout) * 1000
  const rate = (ms) => `${(size / 1000 / ms).toFixed(0)} MB/s`
  t.diagnostic(`kept in ${told.keeping.toFixed(0)} ms (${rate(told.keeping)}), uploaded at ${rate(told.sending)}, curl at ${rate(curl)}: ${(curl / told.sending).toFixed(2)} x`)
  t.diagnostic(`memory of all of Chromium: ${mega(before)} before, at most ${mega(most)}; the page was held up for ${told.longest.toFixed(0)} ms at most`)
  t.diagnostic(`a session recorded and synced: ${told.beside.toFixed(0)} ms beside the upload, ${told.idle.toFixed(0)} ms after it`)
})
