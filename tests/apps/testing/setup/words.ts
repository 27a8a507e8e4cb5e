// Devices on the tables of tests/fixtures/words.sql.

import { inject } from 'vitest'
import { openTestMarea } from '@marea/client/testing'
import type { TestMarea, TestOptions } from '@marea/client/testing'
// @ts-expect-error: its types are not installed.
import pg from 'pg'
import { schema } from './marea.schema.ts'
import type { Schema } from './marea.schema.ts'

export type Device = TestMarea<Schema>

const open: Device[] = []

/** A device without a server. */
export async function offlineDevice(options: TestOptions = {}): Promise<Device> {
  const device = await openTestMarea<Schema>({ schema, ...options })
  open.push(device)
  return device
}

/** A learner of the backend's, with as many devices as a test opens. */
export async function newLearner(): Promise<{ userId: string; device(options?: TestOptions): Promise<Device> }> {
  const { url, publishableKey } = inject('backend')
  const account = { email: `${crypto.randomUUID()}@example.com`, password: crypto.randomUUID() }
  const headers = { 'content-type': 'application/json', apikey: publishableKey }
  const answer = await fetch(`${url}/auth/v1/signup`, { method: 'POST', headers, body: JSON.stringify(account) })
  const { user, access_token: token } = (await answer.json()) as { user: { id: string }; access_token: string }
  const given = { url, publishableKey, userId: user.id, getAccessToken: () => token }
  return {
    userId: user.id,
    device: async (options) => {
      const device = await offlineDevice({ ...given, ...options })
      return device
    },
  }
}

export async function closeAll(): Promise<void> {
  for (const device of open.splice(0)) await device.close()
}

/** What Postgres has. */
export async function inPostgres(sql: string, values: unknown[]): Promise<Record<string, unknown>[]> {
  const database = new pg.Client({ connectionString: inject('backend').databaseUrl })
  await database.connect()
  try {
    return (await database.query(sql, values)).rows as Record<string, unknown>[]
  } finally {
    await database.end()
  }
}
