// `cargo xtask bench web [--json]`: Marea and its peers in the same browser and run, one after the other in every round. This file itself
// with `--only size,correctness --write` puts what does not depend on the machine into docs/PEERS.md.
//
// Rounds are interleaved, so that whatever else the machine does falls on all alike; medians are printed. Ratios are to
// bare SQLite of the same run: absolute figures are of this machine at this hour.

import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import { serve } from '../../demo/serve.mjs'
import { makeProfile, startChromium } from '../../demo/tools/chromium.mjs'
import { setFault, signUp, startBackend } from '../browser/backend.mjs'
import { buildPages } from './build.mjs'
import { coldStart } from './cold-start.mjs'
import { correctness } from './correct.mjs'
import { firstSync } from './first-sync.mjs'
import { median, printTable, writeDocument } from './print.mjs'
import { downloads } from './downloads.mjs'
import { installPeers } from './stage.mjs'
import { mirroredTable } from './tables.mjs'

const { values } = parseArgs({
  options: {
    json: { type: 'boolean' },
    write: { type: 'boolean' },
    rounds: { type: 'string', default: '5' },
    writes: { type: 'string', default: '1000' },
    rows: { type: 'string', default: '100000' },
    only: { type: 'string' },
    stores: { type: 'string' },
  },
})
const [ROUNDS, WRITES, READS, ROWS] = [Number(values.rounds), Number(values.writes), 1000, Number(values.rows)]
const DURABILITY = {
  marea: 'flushed to the disk when acknowledged (SQLite, synchronous = FULL)',
  sqlite: 'flushed to the disk when acknowledged (SQLite, synchronous = FULL)',
  powersync: 'flushed when acknowledged (SQLite; its own settings)',
  rxdb: 'not flushed when acknowledged (IndexedDB, relaxed)',
}

const HOW = { writes: WRITES, rows: ROWS, durability: DURABILITY }

const say = (text) => process.stderr.write(`${text}\n`)
const { folder, client } = installPeers()
const { dist, metafile } = await buildPages(folder, client)
const server = await serve({ mounts: { '/': dist } })
const backend = await startBackend()
const profile = makeProfile()
const browser = await startChromium(profile)
const figures = { chromium: browser.version, rounds: ROUNDS }

async function openStore(store, options) {
  const page = await browser.context.newPage()
  page.on('pageerror', (error) => say(`${store}: ${error.message}`))
  await page.goto(`${server.url}/${store}.html`)
  await page.waitForFunction(() => window.ready === true)
  await page.evaluate((options) => window.bench.open(options), options)
  return page
}

const nowhere = () => ({ url: 'http://127.0.0.1:9', anonKey: 'anon', userId: randomUUID(), token: null, online: false })

/** Writes and reads of each store, in every round a new one. */
async function writesAndReads() {
  const stores = Object.keys(DURABILITY)
  const seen = Object.fromEntries(stores.map((store) => [store, { serial: [], atOnce: [], p50: [], p99: [] }]))
  for (let round = 0; round < ROUNDS; round++) {
    for (const store of stores) {
      say(`  round ${round + 1} of ${ROUNDS}: ${store}`)
      const page = await openStore(store, nowhere())
      const [serial, atOnce, reads, count] = await page.evaluate(
        async ([writes, reads]) => {
          const serial = await window.bench.oneAfterTheOther(writes)
          const atOnce = await window.bench.atOnce(writes)
          return [serial, atOnce, await window.bench.reads(reads), await window.bench.read()]
        },
        [WRITES, READS],
      )
      if (count !== 2 * WRITES) throw new Error(`${store} has ${count} of ${2 * WRITES} sessions`)
      seen[store].serial.push(serial)
      seen[store].atOnce.push(atOnce)
      seen[store].p50.push(reads[Math.floor(reads.length / 2)])
      seen[store].p99.push(reads[Math.floor(reads.length * 0.99)])
      await page.close()
    }
  }
  return Object.fromEntries(
    stores.map((store) => [store, Object.fromEntries(Object.entries(seen[store]).map(([key, list]) => [key, median(list)]))]),
  )
}

/** Reads from a tab that leads and from one that follows. */
async function leaderAndFollower() {
  const options = nowhere()
  const leader = await openStore('marea', options)
  await leader.evaluate(() => window.bench.write())
  const follower = await openStore('marea', options)
  const roles = {}
  for (const page of [leader, follower]) {
    const [leads, reads] = await page.evaluate(async (reads) => [window.bench.leads(), await window.bench.reads(reads)], READS)
    roles[leads ? 'leader' : 'follower'] = { p50: reads[Math.floor(reads.length / 2)], p99: reads[Math.floor(reads.length * 0.99)] }
  }
  await follower.close()
  await leader.close()
  return roles
}

/** From `open()` to the first `progress()` of a mirror that is there, the files in the browser's cache. */
async function startWarm() {
  const options = nowhere()
  const page = await openStore('marea', options)
  await page.evaluate(() => window.bench.write())
  const times = []
  for (let round = 0; round < 2 * ROUNDS; round++) {
    await page.reload()
    await page.waitForFunction(() => window.ready === true)
    times.push(
      await page.evaluate(async (options) => {
        const start = performance.now()
        await window.bench.open(options)
        await window.bench.read()
        return performance.now() - start
      }, options),
    )
  }
  await page.close()
  return median(times)
}

const wants = (name) => !values.only || values.only.split(',').includes(name)
try {
  if (wants('writes')) figures.writes = await writesAndReads()
  if (wants('reads')) figures.reads = await leaderAndFollower()
  if (wants('open')) figures.openToProgressMs = await startWarm()
  if (wants('cold')) figures.coldStart = await coldStart({ browser, rounds: Math.min(ROUNDS, 3), say })
  if (wants('size')) figures.downloads = downloads(dist, metafile)
  if (wants('first-sync')) figures.firstSync = await firstSync({ backend, openStore, signUp, rounds: ROUNDS, rows: ROWS, say })
  if (wants('tables')) figures.mirroredTable = await mirroredTable({ backend, openStore, signUp, rounds: ROUNDS, rows: ROWS, say })
  if (wants('correctness')) {
    const fault = (fault) => setFault(backend.ready, fault)
    figures.correctness = await correctness({ stores: values.stores?.split(','), backend, server, signUp, fault, clearFaults: () => fault(null), say })
  }
} finally {
  await browser.stop()
  profile.remove()
  await backend.stop()
  await server.stop()
}
if (values.json) console.log(JSON.stringify(figures))
else printTable(figures, HOW)
if (values.write) {
  if (!figures.downloads || !figures.correctness) throw new Error('--write wants size and correctness measured')
  writeDocument(figures, HOW)
}
