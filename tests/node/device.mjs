// Programs of Node's in the place of a browser's tabs, for the tests of behaviour that both have (tests/browser/harness.mjs): a device
// is a folder, a page is a process that has the mirror in it open, and what is evaluated in it runs there.

import { fork } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('program.mjs', import.meta.url))

/** The native part that the tests load. */
export function addonFile() {
  const file = process.env.MAREA_NODE_ADDON
  if (!file || !existsSync(file)) throw new Error('MAREA_NODE_ADDON names no file. `cargo xtask test --only node` builds it.')
  return file
}

/** As `startBrowser` of the harness. */
export function startDevice(undo) {
  const folder = mkdtempSync(join(tmpdir(), 'marea-node-'))
  const pages = new Set()
  const endAll = async () => {
    await Promise.all([...pages].map((page) => page.close()))
  }
  undo.push(async () => {
    await endAll()
    rmSync(folder, { recursive: true, force: true })
  })
  return {
    version: process.version,
    // What is offline here is the server's fault.
    context: { setOffline: async () => undefined },
    /** The names of the bytes of a learner's files that lie there. */
    filesOf({ id }) {
      const files = join(folder, `${id}.files`)
      return existsSync(files) ? readdirSync(files).filter((name) => !name.startsWith('.')) : []
    },
    start: async () => undefined,
    stop: endAll,
    kill: endAll,
    async newPage(test) {
      const page = new Page(folder)
      pages.add(page)
      test.after(async () => {
        await page.close()
        pages.delete(page)
      })
      await page.start()
      return page
    },
  }
}

class Page {
  #folder
  #child = null
  #ended = null
  #asked = new Map()
  #nextId = 1
  problems = []

  constructor(folder) {
    this.#folder = folder
  }

  /** (Again) a program without a mirror. */
  async start() {
    await this.close()
    const child = fork(PROGRAM, [this.#folder, addonFile()], { serialization: 'advanced' })
    this.#child = child
    this.#ended = new Promise((resolve) => child.once('exit', resolve))
    await new Promise((resolve, reject) => {
      child.once('exit', (code) => {
        reject(new Error(`The program ended with ${code}.`))
        for (const { reject } of this.#asked.values()) reject(new Error('The program has ended.'))
        this.#asked.clear()
      })
      child.on('message', (message) => (message.ready ? resolve() : this.#receive(message)))
    })
  }

  #receive({ id, value, error, problem }) {
    if (problem !== undefined) return void this.problems.push(problem)
    const asked = this.#asked.get(id)
    this.#asked.delete(id)
    if (error === undefined) asked?.resolve(value)
    else asked?.reject(new Error(error))
  }

  evaluate(code, argument) {
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject })
      this.#child.send({ id, code: String(code), argument })
    })
  }

  /** As a tab that is closed: nothing is said before. */
  async close() {
    this.#child?.kill('SIGKILL')
    await this.#ended
    this.#child = null
  }

  reload() {
    return this.start()
  }

  workers() {
    return []
  }

  /** What a browser tells of requests, nobody tells here. */
  on() {}
}
