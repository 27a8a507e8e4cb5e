// The native part: an addon of Node's, in a package of its own for each platform (native/node/src/lib.rs).

import { createRequire } from 'node:module'
import process from 'node:process'
import { MareaError } from '../errors.js'
import type { Addon } from '../native/addon.js'

/** Loads it. `file` for one that lies elsewhere than its package would. */
export function loadAddon(file?: string): Addon {
  const name = `@marea/client-node-${process.platform}-${process.arch}`
  try {
    return createRequire(import.meta.url)(file ?? name) as Addon
  } catch (error) {
    // What the system's loader says names files of this machine and nothing else.
    const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : ''
    const message = file
      ? `The addon could not be loaded (${why}). Check that it was built for this platform.`
      : `The native part is not here: install ${name} beside @marea/client, in the same version, or build it and name its file as \`addon\` (${why}).`
    throw new MareaError('worker_failed', message, false)
  }
}
