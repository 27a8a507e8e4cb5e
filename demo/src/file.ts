// What can be taken along as a file, and how a file gets from the page to the person.

import { today } from './days'

/** What a file can be made of, as the package's writers name it: the table's name where it is one. */
export const EXPORT_KINDS = ['words', 'descriptions', 'sessions', 'activity'] as const
export type ExportKind = (typeof EXPORT_KINDS)[number]
export const EXPORT_FORMATS = ['csv', 'jsonl', 'html'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

export const fileName = (kind: string, format: string): string => `marea-${kind}-${today()}.${format}`

/** Hands a file to the person, by the browser's own download. */
export function download(file: Blob, name: string): void {
  const url = URL.createObjectURL(file)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  // The browser has taken the address by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}
