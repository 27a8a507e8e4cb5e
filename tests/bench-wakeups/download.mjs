// What wake-ups add to the browser's download, by accounting as twiggy does: the functions of the compiled module that are theirs, compressed
// with all others and without, and the worker's part of it. From the module as cargo makes it, which has names; wasm-opt makes both sums a
// little smaller. node tests/bench-wakeups/download.mjs, after `cargo xtask wasm`.

import { build } from 'esbuild'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const root = fileURLToPath(new URL('../..', import.meta.url))
const THEIRS = /wakeups|WakeUps|mareaengine_socket|mareaengine_wantWakeups/
const gzipped = (...parts) => gzipSync(Buffer.concat(parts), { level: 9 }).length

const places = ['target', 'target/wasm-build'].map((folder) => `${root}${folder}/wasm32-unknown-unknown/wasm/marea_wasm.wasm`)
const module = places.find(existsSync)
if (!module) throw new Error(`${places[0]} is missing. Run \`cargo xtask wasm\` first.`)

/** Reads the numbers, texts and parts of a module (https://webassembly.github.io/spec/core/binary/). */
class Reader {
  constructor(bytes) {
    this.bytes = bytes
    this.at = 0
  }
  number() {
    for (let value = 0, shift = 1; ; shift *= 128) {
      const byte = this.bytes[this.at++]
      value += (byte & 127) * shift
      if (byte < 128) return value
    }
  }
  part() {
    const length = this.number()
    return this.bytes.subarray(this.at, (this.at += length))
  }
  text() {
    return this.part().toString()
  }
  get more() {
    return this.at < this.bytes.length
  }
}

/** The bodies of a module's functions, each with its name. */
function functions(bytes) {
  const [bodies, names] = [[], new Map()]
  let imported = 0
  const sections = new Reader(bytes.subarray(8))
  while (sections.more) {
    const id = sections.number()
    const section = new Reader(sections.part())
    if (id === 2) {
      for (let left = section.number(); left > 0; left--) {
        section.text()
        section.text()
        const kind = section.number()
        if (kind === 0) imported++
        else if (kind === 3) section.number()
        if (kind === 1 || kind === 3) section.number()
        if (kind === 1 || kind === 2) for (let limits = section.number() & 1 ? 2 : 1; limits > 0; limits--) section.number()
        else if (kind === 0) section.number()
      }
    } else if (id === 10) {
      for (let left = section.number(); left > 0; left--) bodies.push(section.part())
    } else if (id === 0 && section.text() === 'name') {
      while (section.more) {
        const which = section.number()
        const map = new Reader(section.part())
        if (which !== 1) continue
        for (let left = map.number(); left > 0; left--) names.set(map.number(), map.text())
      }
    }
  }
  return bodies.map((body, index) => ({ body, name: names.get(index + imported) ?? '' }))
}

const all = functions(readFileSync(module))
const theirs = all.filter(({ name }) => THEIRS.test(name))
if (theirs.length < 5) throw new Error('the module has no names, or those of wake-ups are others now')
const bodies = (list) => list.map(({ body }) => body)
const rest = all.filter((one) => !theirs.includes(one))
const script = await build({ entryPoints: [`${root}wasm/js/wakeups.ts`], bundle: true, minify: true, format: 'esm', write: false })
const code = Buffer.from(script.outputFiles[0].contents)
const sums = {
  module: { functions: theirs.length, bytes: Buffer.concat(bodies(theirs)).length, gzip: gzipped(...bodies(all)) - gzipped(...bodies(rest)) },
  script: { bytes: code.length, gzip: gzipped(code) },
}
console.log(JSON.stringify({ ...sums, gzip: sums.module.gzip + sums.script.gzip }))
