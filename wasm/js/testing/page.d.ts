// The built `page.js`: see `bundle.mjs`.

import type { open } from '../open.js'
import type { Surroundings } from './device.js'

/** The engine's page, in these surroundings. */
export function makePage(surroundings: Surroundings): { open: typeof open }
