// What a schema module makes of the API: each line compiles, or is an error, as an app's author would expect. Nothing here is run.

import { open } from '@marea/client'
import type { Insert, Json, Marea, Row } from '@marea/client'
import json from '../fixtures/schema/marea.schema.json'
import { schema } from '../fixtures/schema/marea.schema'
import type { Schema } from '../fixtures/schema/marea.schema'

declare const options: { url: string; anonKey: string; userId: string; getAccessToken(): string }

export async function tables(): Promise<void> {
  const marea: Marea<Schema> = await open<Schema>({ ...options, schema })
  const registered: Marea = await open({ ...options, schema })
  void registered.table('stock_items').get('x')
  void open<Schema>({ ...options, schema: json })

  const stock = marea.table('stock_items')
  const key: string = await stock.insert({ label: 'Cup', sizes: [1, null], 'in stock': 5n, photo: new Uint8Array(1), checked_at: new Date() })
  await stock.insert({ id: key, label: 'Cup', sizes: [], details: { any: ['thing', { deep: null }] }, weight: 'NaN', price: '12.50' })
  await stock.update(key, { price: 12.5, details: null, state: 'in "use"' })
  await stock.add(key, { seen: 1, 'in stock': -2n })
  await stock.delete(key)
  await marea.table('settings').insert({ theme: 'dark' })

  const row = await stock.get(key)
  if (row) {
    const parts: [string, number | null, string | null, Json | null, (string | null)[] | null] = [row.label, row.seen, row['in stock'], row.details, row.tags]
    const state: 'new' | 'in "use"' | "it's gone" | null = row.state
    void [parts, state]
  }
  const listed = await stock.list({ where: { state: 'new', seen: { gte: 1, lt: 5 }, checked_at: { lt: new Date() }, price: null }, order: ['-seen', 'label'], limit: 5, after: key })
  const first: Row<'stock_items', Schema> | undefined = listed[0]
  const count: number = await stock.count({ label: { in: ['a', 'b'] } })
  const stop: () => void = stock.watch({}, (rows) => void rows.map(({ label }) => label.length), (error) => void error.code)
  void [first, count, stop, stock.watchRow(key, (one) => void one?.label)]

  const input: Insert<'stock_items', Schema> = { label: 'x', sizes: [] }
  const keys: string[] = await marea.batch((tx) => {
    const made: string = tx.table('stock_items').insert(input)
    tx.table('stock_items').add(made, { seen: 2 })
    tx.table('settings').update(made, { theme: 'light' })
  })
  await marea.batch([
    { op: 'insert', table: 'stock_items', values: { label: 'x', sizes: [] } },
    { op: 'add', table: 'stock_items', key: keys[0] ?? '', values: { seen: 1 } },
    { op: 'delete', table: 'settings', key },
  ])
  const answer = await marea.query<{ state: string; n: number }>('SELECT state, count(*) AS n FROM stock_items GROUP BY 1', [1, 'x', null, new Date(), 5n, true])
  const n: number | undefined = answer[0]?.n
  const untyped: string | number | null | undefined = (await marea.query('SELECT 1 AS one'))[0]?.['one']
  void [n, untyped, marea.watchQuery<{ n: number }>('SELECT 1 AS n', [], ([one]) => void one?.n)]
}

export async function wrong(marea: Marea<Schema>): Promise<void> {
  const stock = marea.table('stock_items')
  // @ts-expect-error no such table
  marea.table('stock_itmes')
  // @ts-expect-error `sizes` must be there
  void stock.insert({ label: 'x' })
  // @ts-expect-error not a column
  void stock.insert({ label: 'x', sizes: [], colour: 'red' })
  // @ts-expect-error a number is no text
  void stock.insert({ label: 5, sizes: [] })
  // @ts-expect-error not one of the labels
  void stock.insert({ label: 'x', sizes: [], state: 'old' })
  // @ts-expect-error the server writes it
  void stock.insert({ label: 'x', sizes: [], full_label: 'x' })
  // @ts-expect-error must not be null
  void stock.update('k', { label: null })
  // @ts-expect-error set once
  void stock.update('k', { origin: 'x' })
  // @ts-expect-error a counter is added to
  void stock.update('k', { seen: 1 })
  // @ts-expect-error the key is not changed
  void stock.update('k', { id: 'x' })
  // @ts-expect-error no counter
  void stock.add('k', { label: 1 })
  // @ts-expect-error an integer counter takes a number
  void stock.add('k', { seen: '1' })
  // @ts-expect-error keys are text
  void stock.get(5)
  // @ts-expect-error only the server writes places
  void marea.table('places').insert({ code: 'x' })
  // @ts-expect-error only the server writes places
  void marea.table('places').update('x', { name: 'y' })
  // @ts-expect-error settings have no counter
  void marea.table('settings').add('x', { theme: 1 })
  // @ts-expect-error not a column
  void stock.list({ where: { colour: 'red' } })
  // @ts-expect-error another type
  void stock.list({ where: { seen: 'often' } })
  // @ts-expect-error another type
  void stock.list({ where: { seen: { gt: '1' } } })
  // @ts-expect-error not a column
  void stock.list({ order: ['-colour'] })
  // @ts-expect-error not a part of a query
  void stock.list({ offset: 5 })
  // @ts-expect-error a number is expected
  void (await stock.get('k'))?.sizes[0]?.length
  // @ts-expect-error the server fills it in, later
  void (await stock.get('k'))?.is_fragile.valueOf()
  // @ts-expect-error may be null
  void (await stock.get('k'))?.tags.length
  // @ts-expect-error a table's values
  void marea.batch((tx) => void tx.table('settings').insert({ label: 'x' }))
  // @ts-expect-error a table's values
  void marea.batch([{ op: 'insert', table: 'settings', values: { label: 'x' } }])
  // @ts-expect-error no such operation
  void marea.batch([{ op: 'upsert', table: 'settings', values: { theme: 'x' } }])
  // @ts-expect-error an update names its row
  void marea.batch([{ op: 'update', table: 'settings', values: { theme: 'x' } }])
  // @ts-expect-error no parameter
  void marea.query('SELECT ?1', [{ x: 1 }])
  // @ts-expect-error not the module's schema
  void open({ ...options, schema: 'marea.schema.json' })
}
