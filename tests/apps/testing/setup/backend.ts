// One backend for all test files, with the tables of tests/fixtures/words.sql, which the driver names.

import { readFileSync } from 'node:fs'
// @ts-expect-error: its types are not installed.
import pg from 'pg'
import type { TestProject } from 'vitest/node'
import { startBackend } from '@marea/client/testing'

export default async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const { stop, url, publishableKey, databaseUrl, serviceKey } = await startBackend()
  const database = new pg.Client({ connectionString: databaseUrl })
  try {
    await database.connect()
    await database.query(readFileSync(String(process.env['MAREA_TABLES_SQL']), 'utf8'))
  } finally {
    await database.end()
  }
  provide('backend', { url, publishableKey, databaseUrl, serviceKey })
  return stop
}

declare module 'vitest' {
  export interface ProvidedContext {
    backend: { url: string; publishableKey: string; databaseUrl: string; serviceKey: string }
  }
}
