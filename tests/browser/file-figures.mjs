// What a large file costs in a browser: printed, and not asserted. Not part of the tests; by hand:
// MAREA_FILE_MB=100 node --test tests/browser/file-figures.mjs

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { promisify } from 'node:util'
import { openMarea, startBrowser, startStage, waitFor } from './harness.mjs'

const PIECE = 6 << 20
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
  const source = join(tmpdir(), `marea-figures-${process.pid}`)
  writeFileSync(source, randomBytes(size))
  t.after(() => rmSync(source))
  await page.evaluate(() => {
    window.input = document.body.appendChild(Object.assign(document.createElement('input'), { type: 'file' }))
    window.median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]
    window.writeAndSync = async () => {
      const at = performance.now()
      await window.marea.recordSession({ session_type: 'qa' })
      await window.marea.sync()
      return performance.now() - at
    }
    // Keeps the file and waits until it is up; what is done meanwhile is the caller's.
    window.send = async (file, meanwhile) => {
      const begun = performance.now()
      const { id } = await window.marea.createExport({ export_type: 'x', export_format: 'bin', file })
      const kept = performance.now()
      const up = new Promise((resolve) => {
        const stop = window.marea.watchFiles((files) => files.find((it) => it.export_id === id)?.state === 'uploaded' && resolve(stop))
      })
      let sent = 0
      void up.then((stop) => (stop(), (sent = performance.now())))
      while (!sent) await meanwhile()
      return { id, keeping: kept - begun, sending: sent - kept }
    }
  })
  // By the browser's own door: a driver would carry the bytes.
  const devtools = await browser.context.newCDPSession(page)
  const { result } = await devtools.send('Runtime.evaluate', { expression: 'window.input' })
  await devtools.send('DOM.setFileInputFiles', { files: [source], objectId: result.objectId })
  const before = chromiumBytes()
  let most = before
  const sampling = setInterval(() => (most = Math.max(most, chromiumBytes())), 200)
  const told = await page.evaluate(async () => {
    let [longest, last] = [0, performance.now()]
    const ticking = setInterval(() => {
      longest = Math.max(longest, performance.now() - last - 4)
      last = performance.now()
    }, 4)
    const alone = await window.send(window.input.files[0], () => new Promise((resolve) => setTimeout(resolve, 5)))
    clearInterval(ticking)
    return { ...alone, longest }
  })
  clearInterval(sampling)
  const { rows } = await stage.database.query(`SELECT (metadata ->> 'size')::int AS size FROM storage.objects WHERE name LIKE '%' || $1 || '%'`, [told.id])
  assert.equal(rows[0].size, size)
  const [beside, idle] = await page.evaluate(async () => {
    const [beside, idle] = [[], []]
    await window.send(window.input.files[0].slice(1), async () => beside.push(await window.writeAndSync()))
    for (let count = 0; count < 10; count++) idle.push(await window.writeAndSync())
    return [window.median(beside), window.median(idle)]
  })

  const curl = await byCurl(t, page, learner, readFileSync(source))
  const rate = (ms) => `${(size / 1000 / ms).toFixed(0)} MB/s`
  t.diagnostic(`kept in ${told.keeping.toFixed(0)} ms (${rate(told.keeping)}), uploaded at ${rate(told.sending)}, curl at ${rate(curl)}: ${(curl / told.sending).toFixed(2)} x`)
  t.diagnostic(`memory of all of Chromium: ${mega(before)} before, at most ${mega(most)}; the page was held up for ${told.longest.toFixed(0)} ms at most`)
  t.diagnostic(`a session recorded and synced: ${beside.toFixed(0)} ms beside the upload, ${idle.toFixed(0)} ms after it`)
})

/** The same conversation by curl, a call a piece; how long it took, in milliseconds. */
async function byCurl(t, page, learner, bytes) {
  // The bucket's policy asks for the export's row.
  const id = await page.evaluate(() => window.marea.createExport({ export_type: 'x', export_format: 'bin' }).then(({ id }) => id))
  await page.evaluate(() => window.marea.sync())
  const base64 = (text) => Buffer.from(text).toString('base64')
  const name = `${learner.id}/${id}/${'0'.repeat(64)}.bin`
  const headers = [`authorization: Bearer ${learner.token}`, `apikey: ${stage.backend.anon_key}`, 'tus-resumable: 1.0.0']
  const curl = (...words) => run('curl', ['-sS', '-f', ...headers.flatMap((header) => ['-H', header]), ...words])
  const folder = mkdtempSync(join(tmpdir(), 'marea-figures-'))
  t.after(() => rmSync(folder, { recursive: true }))
  for (let at = 0; at < bytes.length; at += PIECE) writeFileSync(join(folder, String(at)), bytes.subarray(at, at + PIECE))
  const metadata = `upload-metadata: bucketName ${base64('marea-exports')},objectName ${base64(name)},contentType ${base64('application/octet-stream')}`
  const begun = performance.now()
  const uploads = `${stage.backend.url}/storage/v1/upload/resumable`
  const { stdout } = await curl('-D', '-', '-X', 'POST', '-H', `upload-length: ${bytes.length}`, '-H', metadata, uploads)
  const location = new URL(/^location: *(.+?)\r?$/im.exec(stdout)[1], uploads).href
  for (let at = 0; at < bytes.length; at += PIECE) {
    const type = 'content-type: application/offset+octet-stream'
    await curl('-X', 'PATCH', '-H', type, '-H', `upload-offset: ${at}`, '--data-binary', `@${join(folder, String(at))}`, location)
  }
  return performance.now() - begun
}
