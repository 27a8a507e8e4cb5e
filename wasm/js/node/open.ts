// Opens a mirror in a folder of this machine: for Node, Bun, and the main process of Electron.

import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { MareaError } from '../errors.js'
import { GUEST } from '../ids.js'
import type { Marea } from '../marea.js'
import { openNative } from '../native/open.js'
import type { NativeGuestOptions, NativeOptions } from '../native/open.js'
import type { RegisteredSchema } from '../schema.js'
import { loadAddon } from './addon.js'

interface Place {
  /**
   * The folder that the mirrors are in, one SQLite file for each user. It is made where it is missing, for this account of the machine
   * alone. Several programs may have the same mirror open.
   */
  dir: string
  /** The file of the native part, where it was built for this machine or lies elsewhere than in its package. */
  addon?: string
}

export type NodeOptions = NativeOptions & Place
export type NodeGuestOptions = NativeGuestOptions & Place

/**
 * Opens the user's mirror, making it if it is not there yet, and starts to sync in the background. Needs no network. An open mirror does
 * not keep the program from ending, and nothing that was acknowledged depends on `close`.
 *
 * Rejects with a {@link MareaError}: `invalid_input` for an option that is missing or cannot be right, `worker_failed` when the native
 * part is not installed, `storage_failed` when the folder or the file cannot be used, `mirror_newer` when a newer version has been here.
 */
export async function open<S = RegisteredSchema>(options: NodeOptions | NodeGuestOptions): Promise<Marea<S>> {
  checkPlace(options)
  const [dir, addon] = [resolve(options.dir), options.addon && resolve(options.addon)]
  return openNative<S>(options, {
    addon: () => loadAddon(addon),
    dir,
    hasGuest: () => existsSync(join(dir, `${GUEST}.sqlite3`)),
  })
}

function checkPlace(options: unknown): void {
  const { dir, addon } = (options ?? {}) as { dir?: unknown; addon?: unknown }
  const isText = (value: unknown): boolean => typeof value === 'string' && value !== ''
  if (!isText(dir)) throw new MareaError('invalid_input', 'dir: expected the folder that the mirrors are kept in', false)
  if (addon !== undefined && !isText(addon)) throw new MareaError('invalid_input', "addon: expected the path of the native part's file", false)
}
