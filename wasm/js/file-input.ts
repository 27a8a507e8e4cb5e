// A file as an app hands it in: bytes, and what they are called.

import { classOf, readable, unexpected } from './check-kinds.js'
import type { NewFile } from './protocol.js'
import type { ExportInput } from './types.js'

const TYPES: Record<string, string> = {
  csv: 'text/csv',
  jsonl: 'application/x-ndjson',
  ndjson: 'application/x-ndjson',
  json: 'application/json',
  html: 'text/html',
  txt: 'text/plain',
  pdf: 'application/pdf',
  zip: 'application/zip',
}

const EXTENSION = /^[a-z\d]{1,10}$/

/** The file of an export that is asked for, or null, and the rest. What is no object is refused later, with all else. */
export function withoutFile(input: ExportInput & { file?: unknown }): [file: unknown, rest: ExportInput] {
  if (classOf(input) !== 'Object') return [null, input]
  return readable('an export', () => {
    const { file = null, ...rest } = input
    return [file, rest]
  })
}

/** The call's arguments. What the caller changes in its bytes afterwards is no part of it. */
export function fileCall(id: string, input: ExportInput | null, file: unknown, quota: number | null): [NewFile, Blob] {
  const bytes = file instanceof Uint8Array ? new Blob([file as Uint8Array<ArrayBuffer>]) : file
  if (!isBlob(bytes)) throw unexpected('file', 'a Blob or a Uint8Array', file)
  const extension = extensionOf(bytes, input?.export_format)
  const content_type = bytes.type || TYPES[extension] || 'application/octet-stream'
  return [{ id, input, extension, content_type, quota }, bytes]
}

export const isBlob = (value: unknown): value is Blob => ['Blob', 'File'].includes(classOf(value))

/** A file's own, else that of the export's format, else that of its type. */
function extensionOf(file: Blob, format: unknown): string {
  const own = /\.(\w+)$/.exec('name' in file ? String(file.name) : '')?.[1]
  const type = Object.keys(TYPES).find((extension) => file.type.startsWith(TYPES[extension] ?? '-'))
  for (const name of [own, format, type]) {
    const extension = String(name ?? '').toLowerCase()
    if (EXTENSION.test(extension)) return extension
  }
  return 'bin'
}
