// The bytes of files at the leader: in a folder of the browser's file system beside the mirror, written and flushed before the
// engine writes their row (docs/adr/0121-bytes-before-their-row.md). Which of them are wanted is the engine's decision.

import type { FileHandle } from './coalesced-writes.js'
import { MareaError } from './errors.js'
import { BlockHash } from './marea_wasm.js'
import type { MareaEngine } from './marea_wasm.js'

// Blocks by which a file is read: between two of them other calls have their turn.
const BLOCK_BYTES = 1 << 20

/** SHA-256 of a file, read block by block; `each` gets the blocks. */
async function hashOf(file: Blob, each?: (block: Uint8Array<ArrayBuffer>, at: number) => void): Promise<string> {
  const hash = new BlockHash()
  for (let at = 0; at < file.size; at += BLOCK_BYTES) {
    const block = new Uint8Array(await file.slice(at, at + BLOCK_BYTES).arrayBuffer())
    hash.update(block)
    each?.(block, at)
  }
  return hash.finish()
}

interface FileEntry extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<FileHandle>
}

export class FileBytes {
  readonly #engine: MareaEngine
  readonly #name: string | undefined
  #adding = 0
  #sweeping: Promise<void> | null = null

  constructor(engine: MareaEngine) {
    this.#engine = engine
    this.#name = engine.filesFolder()
  }

  /** Whether bytes can be kept here at all. */
  get kept(): boolean {
    return this.#name !== undefined
  }

  /**
   * Writes and flushes the bytes of an export's file, then has `record` write their row: no sweep comes between. `record` gets their
   * hash, and whether there was room for them.
   */
  async add<T>(id: string, extension: string, file: Blob, record: (sha256: string, fits: boolean) => T): Promise<T> {
    await this.#sweeping
    this.#adding++
    try {
      // Their name says what they hash to, and a name is all that a crash leaves to judge them by.
      const sha256 = await read(() => hashOf(file))
      const name = this.#engine.fileName(id, sha256, extension)
      const fits = this.#has(id, name) || (await this.#write(name, file, sha256))
      return record(sha256, fits)
    } finally {
      this.#adding--
      // Also those that make room for this one are to leave.
      await this.sweep()
    }
  }

  /** Whether these bytes have their row: a call that came twice. */
  #has(id: string, name: string): boolean {
    try {
      return this.#engine.fileSource(id, false)[0] === name
    } catch {
      // There is no such export yet.
      return false
    }
  }

  /** False where the device has no room for them. */
  async #write(name: string, file: Blob, sha256: string): Promise<boolean> {
    let handle: FileHandle | undefined
    try {
      const entry = await (await this.#folder(true)).getFileHandle(name, { create: true })
      const opened = (handle = await (entry as FileEntry).createSyncAccessHandle())
      opened.truncate(0)
      const write = (block: Uint8Array, at: number): void => {
        if (opened.write(block, { at }) !== block.length) throw new DOMException('Written in part.', 'QuotaExceededError')
      }
      if ((await read(() => hashOf(file, write))) !== sha256) throw changed()
      opened.flush()
      return true
    } catch (error) {
      if (error instanceof DOMException && error.name === 'QuotaExceededError') return false
      throw error instanceof MareaError ? error : failed(error)
    } finally {
      handle?.close()
    }
  }

  /** A file's bytes; null when they are not here. */
  async open(name: string): Promise<File | null> {
    try {
      return await (await (await this.#folder(false)).getFileHandle(name)).getFile()
    } catch {
      return null
    }
  }

  /** The same, when they are those that their name promises. */
  async openChecked(name: string, sha256: string): Promise<File | null> {
    const file = await this.open(name)
    const found = file && (await hashOf(file).catch(() => null))
    return found === sha256 ? file : null
  }

  /** Removes bytes that no row wants, and lets rows know whose bytes are not there. Not while a file is being added. */
  async sweep(): Promise<void> {
    if (this.#adding > 0 || this.#name === undefined) return
    this.#sweeping ??= this.#sweep().finally(() => (this.#sweeping = null))
    return this.#sweeping
  }

  async #sweep(): Promise<void> {
    let folder: FileSystemDirectoryHandle | null = null
    const names: string[] = []
    try {
      folder = await this.#folder(false)
      for await (const name of folder.keys()) names.push(name)
    } catch (error) {
      // Where there is no folder, there are no bytes. What else it may be says nothing about them.
      if (!(error instanceof DOMException && error.name === 'NotFoundError')) return
    }
    // One that is being read is removed the next time.
    for (const name of this.#engine.sweepFiles(names)) await folder?.removeEntry(name).catch(() => undefined)
  }

  async #folder(create: boolean): Promise<FileSystemDirectoryHandle> {
    if (this.#name === undefined) throw new DOMException('No file system.', 'NotFoundError')
    const top = await navigator.storage.getDirectory()
    return (await top.getDirectoryHandle('.marea', { create })).getDirectoryHandle(this.#name, { create })
  }
}

/** What the app gave may be a file of the learner's, which is changed or taken away meanwhile. */
async function read<T>(reading: () => Promise<T>): Promise<T> {
  try {
    return await reading()
  } catch (error) {
    // What the handle says.
    if (error instanceof DOMException && error.name !== 'NotReadableError' && error.name !== 'NotFoundError') throw error
    throw error instanceof WebAssembly.RuntimeError ? error : changed()
  }
}

const changed = (): MareaError => new MareaError('invalid_input', 'file: could not be read, or was changed meanwhile', false)

function failed(cause: unknown): Error {
  if (cause instanceof WebAssembly.RuntimeError) return cause
  const name = cause instanceof DOMException ? cause.name : 'unknown'
  return new MareaError('storage_failed', `The file could not be kept on this device (${name}); nothing was recorded, try again.`, true)
}

export const filesUnavailable = (): MareaError =>
  new MareaError(
    'files_unavailable',
    'This browser keeps no files here: status().storage_reason says why. The export was recorded without its file.',
    false,
  )
