// The built package with an engine that can be made to stop: what leads runs a few lines before it, and all that they do is what a
// fault of the engine would do. Nothing of this is in the package.

import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const [dist, names] = ['dist', 'pkg/exports.json'].map((path) => fileURLToPath(new URL(`../../wasm/${path}`, import.meta.url)))

/**
 * Runs in the worker, or in the page. `self.trapAt` names the call at which the engine stops, and `self.trapWhen` how. `short` has what the
 * module's exports are called.
 */
function trapping(short) {
  const { instantiate } = WebAssembly
  const { stringify } = JSON
  const { now } = Date
  let real = null
  let engine = 0
  // Reads a text from where no memory is: a real trap.
  const trap = () => real[short.mareaengine_activity](engine, 0xfffffff0, 64, 0xfffffff0, 64)
  // Calls the engine from within a call of the engine: a real panic.
  const panic = () => real[short.mareaengine_status](engine)
  const wrapped = (name, call) =>
    function (...args) {
      if (name.startsWith('mareaengine_')) engine = args[0]
      const armed = self.trapAt && name.includes(self.trapAt)
      if (armed && self.trapWhen === 'before') trap()
      if (armed && self.trapWhen === 'within') self.panicNow = true
      const answer = call(...args)
      if (armed && self.trapWhen === 'after') trap()
      return answer
    }
  WebAssembly.instantiate = async (module, imports) => {
    const instance = await instantiate(module, imports)
    real = instance.exports
    const long = Object.fromEntries(Object.entries(short).map(([name, short]) => [short, name]))
    const exports = Object.entries(real).map(([name, value]) => [name, typeof value === 'function' ? wrapped(long[name], value) : value])
    return { exports: Object.fromEntries(exports) }
  }
  // The engine reads what is written with it, and then, in the middle of its work, the clock.
  JSON.stringify = (...args) => {
    const text = stringify(...args)
    if (text?.includes('"poison"')) self.panicNow = true
    return text
  }
  Date.now = () => {
    if (self.panicNow) {
      self.panicNow = false
      panic()
    }
    return now()
  }
}

/** A copy of the package for `servePage`. Notes in `made` the folder that is to be removed. */
export function packageThatTraps(made) {
  const folder = mkdtempSync(join(tmpdir(), 'marea-traps-'))
  made.push(folder)
  cpSync(dist, folder, { recursive: true })
  const worker = join(folder, 'worker.js')
  writeFileSync(worker, `(${trapping})(${readFileSync(names, 'utf8')});\n${readFileSync(worker, 'utf8')}`)
  return folder
}

/** Has the engine that leads here stop at the next call of this name. */
export async function arm(page, at, when) {
  const set = ([at, when]) => {
    self.trapAt = at
    self.trapWhen = when
  }
  const [worker] = page.workers()
  await (worker ?? page).evaluate(set, [at, when])
}
