// Kysely over the mirror: typed by the schema module, and read only.

import { Kysely, sql } from 'kysely'
import { afterEach, expect, test } from 'vitest'
import { MareaError } from '@marea/client'
import { mareaDialect } from '@marea/client/kysely'
import type { MareaDatabase } from '@marea/client/kysely'
import { closeAll, offlineDevice } from '../setup/words.ts'
import type { Schema } from '../setup/marea.schema.ts'

afterEach(closeAll)

async function opened() {
  const { marea } = await offlineDevice()
  const [cat, dog] = [crypto.randomUUID(), crypto.randomUUID()]
  await marea.batch((tx) => {
    tx.table('vocabulary_items').insert({ id: cat, word: 'gato', level: 'a1', tags: ['pet'] })
    tx.table('vocabulary_items').insert({ id: dog, word: 'perro', level: 'b1' })
    tx.table('word_reviews').insert({ item_id: dog, times_seen: 4, due_on: '2026-12-01' })
    tx.table('question_answers').insert({ id: 'q1', question: 'why', is_correct: true })
  })
  return { marea, dog, db: new Kysely<MareaDatabase<Schema>>({ dialect: mareaDialect(marea) }) }
}

test('queries: where, join, group, order, sub-query, common table, union', async () => {
  const { db, dog } = await opened()
  const all = await db.selectFrom('vocabulary_items').selectAll().where('level', 'in', ['b1']).execute()
  expect(all).toMatchObject([{ id: dog, word: 'perro', level: 'b1' }])
  const joined = await db
    .selectFrom('word_reviews as r')
    .innerJoin('vocabulary_items as i', 'i.id', 'r.item_id')
    .select(({ fn }) => ['i.word', fn.sum<number>('r.times_seen').as('seen')])
    .where('r.due_on', '<=', '2026-12-31')
    .groupBy('i.word')
    .executeTakeFirstOrThrow()
  expect(joined).toEqual({ word: 'perro', seen: 4 })
  const never = await db
    .with('seen', (q) => q.selectFrom('word_reviews').select('item_id'))
    .selectFrom('vocabulary_items')
    .select('word')
    .where('id', 'not in', (q) => q.selectFrom('seen').select('item_id'))
    .execute()
  expect(never).toEqual([{ word: 'gato' }])
  const both = await db.selectFrom('vocabulary_items').select('word').union(db.selectFrom('question_answers').select('question as word')).orderBy('word').execute()
  expect(both.map(({ word }) => word)).toEqual(['gato', 'perro', 'why'])
  const [answer] = await db.selectFrom('question_answers').select(['is_correct', 'confidence']).where('is_correct', '=', 1).execute()
  expect(answer).toEqual({ is_correct: 1, confidence: null })
  expect(await sql<{ n: number }>`SELECT count(*) AS n FROM vocabulary_items WHERE word <> ${'gato'}`.execute(db)).toMatchObject({ rows: [{ n: 1 }] })
})

test('a compiled query is followed', async () => {
  const { db, marea } = await opened()
  const { sql: text, parameters } = db.selectFrom('vocabulary_items').select('word').where('level', '=', 'a1').orderBy('word').compile()
  const seen: string[] = []
  const stop = marea.watchQuery<{ word: string }>(text, parameters as string[], (rows) => seen.push(rows.map(({ word }) => word).join(' ')))
  await expect.poll(() => seen.at(-1)).toBe('gato')
  await marea.table('vocabulary_items').insert({ word: 'casa', level: 'a1' })
  await expect.poll(() => seen.at(-1)).toBe('casa gato')
  stop()
})

test('writes are refused, by name, and nothing is written', async () => {
  const { db, marea, dog } = await opened()
  // @ts-expect-error: nothing can be set.
  const update = db.updateTable('vocabulary_items').set({ word: 'x' }).where('id', '=', dog)
  const insert = db.insertInto('vocabulary_items').values({ word: 'x' })
  const refused: [RegExp, () => Promise<unknown>][] = [
    [/^Update: .*marea\.table/, () => update.execute()],
    [/^Insert: /, () => insert.execute()],
    [/^Delete: /, () => db.deleteFrom('vocabulary_items').execute()],
    [/^CreateTable: /, () => db.schema.createTable('x').addColumn('y', 'text').execute()],
    [/^DropTable: /, () => db.schema.dropTable('vocabulary_items').execute()],
    [/^transaction: /, () => db.transaction().execute(async () => undefined)],
    [/./, () => sql`DELETE FROM vocabulary_items`.execute(db)],
    [/./, () => sql`PRAGMA user_version = 3`.execute(db)],
    [/./, () => db.selectFrom('meta' as 'vocabulary_items').selectAll().execute()],
    [/^stream: /, async () => { for await (const _ of db.selectFrom('vocabulary_items').selectAll().stream()) void _ }],
  ]
  for (const [message, write] of refused) {
    const error = await write().catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(MareaError)
    expect(error).toMatchObject({ message: expect.stringMatching(message) })
  }
  expect(await marea.table('vocabulary_items').count()).toBe(2)
  const tables = await db.introspection.getTables()
  expect(tables.find(({ name }) => name === 'vocabulary_items')?.columns.map(({ name }) => name)).toContain('word')
  await db.destroy()
  expect(await marea.table('vocabulary_items').count()).toBe(2)
})
