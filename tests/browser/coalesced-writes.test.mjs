// Coalesced writes: whatever is done with a file, it looks as if each write had been done at once. Node stands in for the browser:
// a handle here is a file in memory.

import assert from 'node:assert/strict'
import { buildSync } from 'esbuild'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

// A part of the worker's file.
const source = fileURLToPath(new URL('../../wasm/js/coalesced-writes.ts', import.meta.url))
const [{ contents }] = buildSync({ entryPoints: [source], bundle: true, format: 'esm', write: false }).outputFiles
const { coalesceWrites } = await import(`data:text/javascript;base64,${Buffer.from(contents).toString('base64')}`)

/** A file handle that counts its writes, and fails them when it is told to. */
class Handle {
  bytes = new Uint8Array(0)
  writes = 0
  flushed = 0
  full = false

  write(bytes, { at = 0 } = {}) {
    if (this.full) throw new DOMException('no room', 'QuotaExceededError')
    this.writes++
    this.#resize(Math.max(this.bytes.length, at + bytes.length))
    this.bytes.set(bytes, at)
    return bytes.length
  }
  read(bytes, { at = 0 } = {}) {
    const found = this.bytes.subarray(at, at + bytes.length)
    bytes.set(found)
    return found.length
  }
  truncate(size) {
    this.#resize(size)
  }
  getSize() {
    return this.bytes.length
  }
  flush() {
    this.flushed++
  }
  close() {}

  #resize(size) {
    const resized = new Uint8Array(size)
    resized.set(this.bytes.subarray(0, size))
    this.bytes = resized
  }
}

class Coalescing extends Handle {
  // Methods of its own, so that the plain class stays as it is.
  static {
    for (const name of ['write', 'read', 'truncate', 'getSize', 'flush', 'close']) this.prototype[name] = Handle.prototype[name]
    coalesceWrites(this.prototype)
  }
}

/** Numbers from a seed (mulberry32), so that a failure can be repeated. */
function dice(seed) {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

test('whoever reads, asks, flushes or closes finds what was written', () => {
  for (let seed = 0; seed < 300; seed++) {
    const roll = dice(seed)
    const [plain, coalescing] = [[new Handle(), new Handle()], [new Coalescing(), new Coalescing()]]
    let end = [0, 0]
    for (let step = 0; step < 60; step++) {
      const file = roll(2)
      const both = (call) => assert.deepEqual(call(coalescing[file]), call(plain[file]), `seed ${seed}, step ${step}`)
      const chance = roll(100)
      if (chance < 70) {
        // Most follow the last one, as frames of a log do; some are larger than anything that waits.
        const at = roll(10) === 0 ? roll(5_000) : end[file]
        const bytes = new Uint8Array(roll(60) === 0 ? 300_000 : roll(5_000)).fill(1 + roll(255))
        both((handle) => handle.write(bytes, { at }))
        end[file] = at + bytes.length
      } else if (chance < 80) {
        const [at, length] = [roll(20_000), roll(6_000)]
        both((handle) => {
          const found = new Uint8Array(length)
          return [handle.read(found, { at }), found]
        })
      } else if (chance < 86) both((handle) => handle.getSize())
      else if (chance < 92) {
        const size = roll(30_000)
        both((handle) => handle.truncate(size))
      } else {
        coalescing[file].flush()
        assert.deepEqual(coalescing[file].bytes, plain[file].bytes, `seed ${seed}, step ${step}: what was flushed is in the file`)
      }
    }
    for (const [file, handle] of coalescing.entries()) {
      handle.close()
      assert.deepEqual(handle.bytes, plain[file].bytes, `seed ${seed}: what was closed is in the file`)
    }
  }
})

test('what follows each other is one write, and a flush is a flush', () => {
  const handle = new Coalescing()
  for (let frame = 0; frame < 50; frame++) {
    const at = frame * 4120
    handle.write(new Uint8Array(24), { at })
    handle.write(new Uint8Array(4096), { at: at + 24 })
  }
  assert.equal(handle.writes, 0)
  handle.flush()
  assert.deepEqual([handle.writes, handle.flushed, handle.getSize()], [1, 1, 50 * 4120])
})

test('a write that fails fails the call that needed it, by its own error, and is not tried again', () => {
  for (const call of [
    (handle) => handle.flush(),
    (handle) => handle.getSize(),
    (handle) => handle.truncate(0),
    (handle) => handle.read(new Uint8Array(1), { at: 0 }),
    (handle) => handle.write(new Uint8Array(1), { at: 9_000 }),
  ]) {
    const handle = new Coalescing()
    handle.write(new Uint8Array(10).fill(7), { at: 0 })
    handle.full = true
    assert.throws(() => call(handle), { name: 'QuotaExceededError' })
    assert.equal(handle.flushed, 0, 'nothing is said to be durable')
    handle.full = false
    handle.flush()
    assert.equal(handle.bytes.includes(7), false)
  }
})
