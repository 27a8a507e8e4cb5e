// A program of Node's with a mirror open, as the test page is for a browser: it runs what a test sends it.

import { install } from '../browser/page/calls.js'

const [, , folder, addon] = process.argv
globalThis.window = globalThis
// One test hands an element of a page to a call.
globalThis.document = { body: new (class { [Symbol.toStringTag] = 'HTMLBodyElement' })() }

const { open } = await import('../../wasm/dist/node/index.js')
install((options) => open({ ...options, dir: folder, addon }))

for (const event of ['uncaughtException', 'unhandledRejection']) {
  process.on(event, (error) => process.send({ problem: String(error?.message ?? error) }))
}
process.on('message', async ({ id, code, argument }) => {
  try {
    const evaluated = (0, eval)(`(${code})`)
    const value = await (typeof evaluated === 'function' ? evaluated(argument) : evaluated)
    process.send({ id, value: typeof value === 'function' ? undefined : value })
  } catch (error) {
    process.send({ id, error: String(error?.stack ?? error) })
  }
})
process.send({ ready: true })
