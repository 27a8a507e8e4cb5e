// Writes to the mirror's files, coalesced: SQLite writes a transaction page by page, and the browser's process is told of each
// single write, which costs more than the writing (docs/adr/0057-writes-are-gathered.md).
//
// What follows its predecessor in a file waits with it in memory, until anything else is done with that file: a flush, a reading, a
// question for its size. So whoever asks sees what it would have seen, and what a flush made durable is durable. That
// unflushed writes can be lost is what SQLite counts with anyway. An error comes from the call that writes.

// With 64 KiB a first sync was slower; with 1 MiB it was no faster.
const MOST_BYTES = 256 * 1024

/** The calls of a `FileSystemSyncAccessHandle` that touch its file. */
export interface FileHandle {
  write(bytes: Uint8Array, options?: { at?: number }): number
  read(bytes: Uint8Array, options?: { at?: number }): number
  truncate(size: number): void
  getSize(): number
  flush(): void
  close(): void
}

interface Waiting {
  readonly bytes: Uint8Array
  at: number
  length: number
}

/** Coalesces the writes of all handles that have this prototype. */
export function coalesceWrites(prototype: FileHandle): void {
  const { write, read, truncate, getSize, flush, close } = prototype
  const waiting = new WeakMap<FileHandle, Waiting>()

  function settle(handle: FileHandle): void {
    const pending = waiting.get(handle)
    if (!pending?.length) return
    const { bytes, at, length } = pending
    // Also when it fails: SQLite gives the transaction up, and never asks for these bytes.
    pending.length = 0
    if (write.call(handle, bytes.subarray(0, length), { at }) !== length) throw new Error('The file was not written to its end.')
  }

  prototype.write = function (bytes, options) {
    const at = options?.at
    if (at === undefined || bytes.length > MOST_BYTES) {
      settle(this)
      return write.call(this, bytes, options)
    }
    let pending = waiting.get(this)
    if (!pending) waiting.set(this, (pending = { bytes: new Uint8Array(MOST_BYTES), at, length: 0 }))
    if (at !== pending.at + pending.length || pending.length + bytes.length > MOST_BYTES) settle(this)
    if (pending.length === 0) pending.at = at
    pending.bytes.set(bytes, pending.length)
    pending.length += bytes.length
    return bytes.length
  }
  prototype.read = function (bytes, options) {
    settle(this)
    return read.call(this, bytes, options)
  }
  prototype.truncate = function (size) {
    settle(this)
    truncate.call(this, size)
  }
  prototype.getSize = function () {
    settle(this)
    return getSize.call(this)
  }
  prototype.flush = function () {
    settle(this)
    flush.call(this)
  }
  prototype.close = function () {
    settle(this)
    close.call(this)
  }
}
