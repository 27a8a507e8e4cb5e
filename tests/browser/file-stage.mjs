// What the tests of files share: files of many sizes, made in a page, and where their bytes are.

import { createHash } from 'node:crypto'
import { waitFor } from './harness.mjs'

/** The largest part in which a file goes. */
export const PIECE = 6 << 20

/** Bytes that look like nothing in particular, the same here and in a page. */
export const BYTES = `(size, seed) => {
  const bytes = new Uint8Array(size)
  let state = seed + 1
  for (let at = 0; at < size; at++) bytes[at] = (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24
  return bytes
}`
export const bytesOf = new Function(`return ${BYTES}`)()
export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')

/** Asks for an export with a file of this size; gives its id. */
export const create = (page, size, seed = 1, more = {}) =>
  page.evaluate(
    async ([size, seed, more, make]) => {
      const file = new Blob([new Function(`return ${make}`)()(size, seed)], { type: 'application/zip' })
      return (await window.marea.createExport({ export_type: 'photos', export_format: 'zip', ...more, file })).id
    },
    [size, seed, more, BYTES],
  )

export const files = (page) => page.evaluate(() => window.marea.files())
export const stateOf = async (page, id) => (await files(page)).find((file) => file.export_id === id)?.state
export const until = (page, id, state) => waitFor(`the file ${state ?? 'forgotten'}`, () => stateOf(page, id), (seen) => seen === state)

/** Says name and size of each object of a learner. */
export const filesOf = (stage) => async (learner) => {
  const { rows } = await stage.database.query(
    `SELECT name, (metadata ->> 'size')::int AS size FROM storage.objects WHERE name LIKE $1 || '/%' ORDER BY name`,
    [learner.id],
  )
  return rows
}

/** The names of the bytes that lie on the device. */
export const kept = (page, learner) =>
  page.evaluate(async (user) => {
    const names = []
    try {
      const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('.marea')
      for await (const name of (await root.getDirectoryHandle(`${user}.files`)).keys()) names.push(name)
    } catch {
      // There is no folder.
    }
    return names
  }, learner.id)

/** What `exportFile` gives: its size, type and hash, as the page reads it. */
export const read = (page, id) =>
  page.evaluate(async (id) => {
    const file = await window.marea.exportFile(id)
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', await file.arrayBuffer()))
    return { size: file.size, type: file.type, sha256: Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('') }
  }, id)
