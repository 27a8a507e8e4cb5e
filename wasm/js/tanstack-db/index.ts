// TanStack DB over a mirrored table: live queries and optimistic state are its own, rows and writes are Marea's.
//
// A collection holds the whole table, and is read again after each change of it, whoever made it: this tab, another one, or the server.
// A write is done when it is durable on the device; there is no server to wait for.

import { makeWriteId } from '../ids.js'
import type { Change } from '../batch.js'
import { follow } from '../marea.js'
import type { Marea } from '../marea.js'
import { MareaError } from '../errors.js'
import type { Catalogue, Insert, RegisteredSchema, Row, TableName } from '../schema.js'
import { changesOf } from './changes.js'
import type { Described } from './changes.js'
import type { CollectionSync, CollectionTransaction, MareaCollectionConfig, RowSchema } from './types.js'

export type { CollectionMutation, CollectionSync, CollectionTransaction, MareaCollectionConfig, RowSchema } from './types.js'

export interface MareaCollectionOptions<N extends string, S> {
  marea: Marea<S>
  /** A mirrored table, by its name in the catalogue. */
  table: N
  /** The collection's id; by default made of the table's name. */
  id?: string
  /** The name of the table's key, where `open` was given no schema module; `id` unless it is given. */
  key?: string
}

const PAGE = 1_000
/** When rows that could not be read are read again, should nothing change before. */
const AGAIN_MS = 5_000

/** The tables that collections are over, by the functions that make up a collection. */
const known = new WeakMap<object, { marea: Marea; described: Described; caughtUp: () => Promise<void> }>()

/** For `createCollection`: a collection of a mirrored table's rows. */
export function mareaCollectionOptions<N extends TableName<S>, S = RegisteredSchema>({
  marea,
  table: name,
  id = `marea:${name}`,
  key,
}: MareaCollectionOptions<N, S>): MareaCollectionConfig<Row<N, S> & object, Insert<N, S> & object> {
  type R = Row<N, S> & Record<string, unknown>
  const table = (marea.schema as Catalogue | undefined)?.tables.find((one) => one.name === name)
  const described: Described = { name, key: key ?? table?.key ?? 'id', table }
  let pull: (() => Promise<void>) | null = null

  const sync = ({ begin, write, commit, markReady, markError }: CollectionSync<R>): (() => void) => {
    const written = new Map<string, string>()
    let again: ReturnType<typeof setTimeout> | undefined
    const read = async (): Promise<void> => {
      const rows = await allRows<R>(marea as unknown as Marea, described)
      begin()
      const gone = new Set(written.keys())
      for (const row of rows) {
        const rowKey = String(row[described.key])
        const text = JSON.stringify(row)
        if (written.get(rowKey) !== text) write({ type: written.has(rowKey) ? 'update' : 'insert', value: row })
        written.set(rowKey, text)
        gone.delete(rowKey)
      }
      for (const rowKey of gone) {
        write({ type: 'delete', key: rowKey })
        written.delete(rowKey)
      }
      commit()
      markReady()
    }
    const mine = (pull = onceAtATime(read))
    let stop = (): void => undefined
    const start = (): void => {
      stop()
      stop = marea[follow](name, mine, (error) => {
        markError(error)
        clearTimeout(again)
        if (error.retry) again = setTimeout(start, AGAIN_MS)
      })
    }
    start()
    return () => {
      clearTimeout(again)
      stop()
      if (pull === mine) pull = null
    }
  }

  const done = (given: CollectionTransaction): Promise<void> => mareaMutationFn(given)
  const config = {
    id,
    getKey: (row: R) => String(row[described.key]),
    schema: schemaOf<R, Insert<N, S> & object>(described, marea.userId),
    sync: { sync, rowUpdateMode: 'full' as const },
    onInsert: done,
    onUpdate: done,
    onDelete: done,
  }
  known.set(config.sync, { marea: marea as unknown as Marea, described, caughtUp: async () => pull?.() })
  return config as unknown as MareaCollectionConfig<Row<N, S> & object, Insert<N, S> & object>
}

/**
 * For `createTransaction` and `createOptimisticAction`: does the mutations of all collections of one mirror as one batch, all or none,
 * and resolves when it is durable on the device.
 */
export async function mareaMutationFn({ transaction }: CollectionTransaction): Promise<void> {
  const touched = new Set<{ caughtUp: () => Promise<void> }>()
  let marea: Marea | null = null
  const changes = transaction.mutations.flatMap((mutation) => {
    const { config } = mutation.collection as { config?: { sync?: object } }
    const collection = config?.sync && known.get(config.sync)
    if (!collection) throw refuse('a collection of it is not one of mareaCollectionOptions')
    if (marea && marea !== collection.marea) throw refuse('its collections are of two mirrors')
    marea = collection.marea
    touched.add(collection)
    return changesOf(mutation, collection.described)
  })
  await (marea as Marea | null)?.batch(changes as Change[])
  // What was written is among the collection's rows before its optimistic state goes. It is durable, whether they can be read or not.
  await Promise.all([...touched].map(({ caughtUp }) => caughtUp().catch(() => undefined)))
}

const refuse = (problem: string): MareaError => new MareaError('invalid_input', `transaction: ${problem}`, false)

/** The whole table, page by page. A row that a page ended with may be gone by the next one: then it is begun again. */
async function allRows<R extends Record<string, unknown>>(marea: Marea, { name, key }: Described): Promise<R[]> {
  for (let tries = 0; ; tries++) {
    try {
      const rows: R[] = []
      for (let after: string | undefined; ; after = String(rows.at(-1)?.[key])) {
        const page = await marea.table(name).list({ limit: PAGE, ...(after !== undefined && { after }) })
        rows.push(...(page as R[]))
        if (page.length < PAGE) return rows
      }
    } catch (error) {
      if (tries > 5 || !(error instanceof MareaError) || !error.message.startsWith('after')) throw error
    }
  }
}

/** What is asked for while it runs is one more run after it: it may have passed what the caller wants seen. */
function onceAtATime(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> = Promise.resolve()
  let next: Promise<void> | null = null
  return () => {
    next ??= running
      .catch(() => undefined)
      .then(() => {
        next = null
        return (running = run())
      })
    return next
  }
}

function schemaOf<R extends Record<string, unknown>, I>({ key, table }: Described, userId: string): RowSchema<R, I> {
  const empty = Object.fromEntries((table?.columns ?? []).map(({ name }) => [name, null]))
  const isUuid = table?.columns.some(({ name, type }) => name === key && type === 'uuid') ?? true
  const validate = (given: unknown): { value: R } => {
    const row: Record<string, unknown> = { ...empty, ...Object.fromEntries(Object.entries(Object(given)).map(([name, value]) => [name, plain(value)])) }
    // A row that is the user's only one has the user's id.
    if (table?.owner === key) row[key] ??= userId.toLowerCase()
    else if (isUuid) row[key] ??= makeWriteId()
    return { value: row as R }
  }
  return { '~standard': { version: 1, vendor: 'marea', validate } }
}

/** As a row has it once it was written. */
function plain(value: unknown): unknown {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? value : value.toISOString().replace('Z', '000Z')
  return typeof value === 'bigint' ? String(value) : value
}
