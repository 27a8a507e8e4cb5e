// Written by `npx marea-client schema` from the server's catalogue; write it again after a migration, do not edit it.
/* eslint-disable */

import type { Catalogue } from '@marea/client'

/** For `open({ schema })`. */
export const schema = { "version": 1,
  "hash": "0",
  "tables": [] } as const satisfies Catalogue

/**
 * What each table's rows hold, and what its operations take. What the server fills in (a default, a column of its own) is null in a row
 * that was made here, until the server has answered.
 */
export interface Schema {
}

declare module '@marea/client' {
  interface Register {
    schema: Schema
  }
}
