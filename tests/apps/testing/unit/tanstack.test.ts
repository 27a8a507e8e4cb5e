// A collection of TanStack DB over a mirrored table. What TanStack's own suites ask of a collection (first rows, every kind of change
// from here and from elsewhere, optimistic state, roll-back, live queries over it, clean-up and restart) is asked of this one, with the
// real engine, and where two devices meet, with the real server.

import { count, createCollection, createLiveQueryCollection, createTransaction, eq, gt } from '@tanstack/db'
import { afterEach, expect, test, vi } from 'vitest'
import { MareaError } from '@marea/client'
import { mareaCollectionOptions, mareaMutationFn } from '@marea/client/tanstack-db'
import { refusingServer } from '@marea/client/testing'
import { closeAll, inPostgres, newLearner, offlineDevice } from '../setup/words.ts'
import type { Device } from '../setup/words.ts'

afterEach(closeAll)

const itemsOf = ({ marea }: Pick<Device, 'marea'>) => createCollection(mareaCollectionOptions({ marea, table: 'vocabulary_items' }))
const reviewsOf = ({ marea }: Pick<Device, 'marea'>) => createCollection(mareaCollectionOptions({ marea, table: 'word_reviews' }))
const wordsOf = (collection: { toArray: { word: string }[] }) => collection.toArray.map(({ word }) => word).sort()

test('first rows are there when it is ready, and are the mirror\'s', async () => {
  const device = await offlineDevice()
  const key = await device.marea.table('vocabulary_items').insert({ word: 'gato', tags: ['pet'] })
  const items = itemsOf(device)
  expect(items.status).toBe('idle')
  await items.preload()
  expect(items.status).toBe('ready')
  const { $synced, ...row } = { $synced: true, ...items.get(key) }
  expect(row).toMatchObject({ ...(await device.marea.table('vocabulary_items').get(key)) })
  expect($synced).toBe(true)
})

test('an insert is shown at once, durable without a network, and has its key', async () => {
  const device = await offlineDevice()
  const items = itemsOf(device)
  await items.preload()
  const transaction = items.insert({ word: 'gato' })
  expect(wordsOf(items)).toEqual(['gato'])
  await transaction.isPersisted.promise
  expect(await device.marea.table('vocabulary_items').list()).toMatchObject([{ word: 'gato', translation: null }])
  const [row] = items.toArray
  expect(row?.id).toMatch(/^[\da-f-]{36}$/)
  expect((await device.marea.status()).pending).toBe(1)
  const marea = await device.reload()
  expect(await marea.table('vocabulary_items').count()).toBe(1)
})

test("a table of one row for each user has the user's id for its key, and one that only the server writes is refused", async () => {
  const device = await offlineDevice()
  const settings = createCollection(mareaCollectionOptions({ marea: device.marea, table: 'user_settings' }))
  await settings.preload()
  await settings.insert({ theme: 'dark' }).isPersisted.promise
  expect(settings.get(device.userId)?.theme).toBe('dark')
  await settings.update(device.userId, (draft) => void (draft.preferences = { sound: false })).isPersisted.promise
  expect(await device.marea.table('user_settings').get(device.userId)).toMatchObject({ theme: 'dark', preferences: { sound: false } })
  const days = createCollection(mareaCollectionOptions({ marea: device.marea, table: 'word_of_the_day' }))
  await days.preload()
  const refused = days.insert({ id: crypto.randomUUID(), word: 'sol' } as never)
  await expect(refused.isPersisted.promise).rejects.toBeInstanceOf(MareaError)
  expect(days.size).toBe(0)
})

test('times and big integers may be given as JavaScript has them', async () => {
  const device = await offlineDevice()
  const [descriptions, reviews] = [createCollection(mareaCollectionOptions({ marea: device.marea, table: 'saved_descriptions' })), reviewsOf(device)]
  const [id, review] = [crypto.randomUUID(), crypto.randomUUID()]
  await descriptions.insert({ id, image_url: 'https://example.com/cat', created_at: new Date('2026-03-01T08:00:00Z') }).isPersisted.promise
  expect(descriptions.get(id)?.created_at).toBe('2026-03-01T08:00:00.000000Z')
  await reviews.insert({ id: review, item_id: crypto.randomUUID(), times_right: 9007199254740993n }).isPersisted.promise
  expect(reviews.get(review)?.times_right).toBe('9007199254740993')
})

test('many rows in one insert are one batch', async () => {
  const device = await offlineDevice()
  const items = itemsOf(device)
  const transaction = items.insert([{ word: 'uno' }, { word: 'dos' }, { word: 'tres' }])
  await transaction.isPersisted.promise
  const queued = await device.marea.pending()
  expect(queued).toHaveLength(3)
  expect(new Set(queued.map(({ batch }) => batch)).size).toBe(1)
})

test('an update sends what has changed, also to several rows', async () => {
  const device = await offlineDevice()
  const items = itemsOf(device)
  await items.preload()
  const [one, two] = [crypto.randomUUID(), crypto.randomUUID()]
  await items.insert([{ id: one, word: 'gato' }, { id: two, word: 'pero' }]).isPersisted.promise
  await items.update(two, (draft) => void (draft.word = 'perro')).isPersisted.promise
  await items.update([one, two], (drafts) => {
    for (const draft of drafts) draft.level = 'b1'
  }).isPersisted.promise
  expect(items.toArray.map(({ word, level }) => `${word} ${level}`).sort()).toEqual(['gato b1', 'perro b1'])
  const sent = (await device.marea.pending()).map(({ values }) => values)
  expect(sent.slice(2)).toEqual([{ word: 'perro' }, { level: 'b1' }, { level: 'b1' }])
  // Nothing has changed: nothing is written.
  await items.update(one, (draft) => void (draft.word = 'gato')).isPersisted.promise
  expect((await device.marea.status()).pending).toBe(5)
})

test('a counter that is set is added to', async () => {
  const device = await offlineDevice()
  const reviews = reviewsOf(device)
  await reviews.preload()
  const id = crypto.randomUUID()
  await reviews.insert({ id, item_id: crypto.randomUUID(), times_seen: 1, times_right: '9007199254740993', score: '1.50' }).isPersisted.promise
  await reviews.update(id, (draft) => {
    draft.times_seen = Number(draft.times_seen) + 2
    draft.times_right = '9007199254740995'
    draft.score = '0.25'
    draft.due_on = '2026-12-01'
  }).isPersisted.promise
  expect(reviews.get(id)).toMatchObject({ times_seen: 3, times_right: '9007199254740995', score: '0.25', due_on: '2026-12-01' })
  const [, update, added] = await device.marea.pending()
  expect(update).toMatchObject({ op: 'merge', values: { due_on: '2026-12-01' } })
  expect(added).toMatchObject({ op: 'add', values: { times_seen: 2, times_right: '2', score: '-1.25' } })
})

test('a deletion, of one row and of several', async () => {
  const device = await offlineDevice()
  const items = itemsOf(device)
  const ids = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()]
  await items.insert(ids.map((id, index) => ({ id, word: `w${index}` }))).isPersisted.promise
  await items.delete(ids[0]!).isPersisted.promise
  expect(wordsOf(items)).toEqual(['w1', 'w2'])
  await items.delete(ids.slice(1)).isPersisted.promise
  expect(items.size).toBe(0)
  expect(await device.marea.table('vocabulary_items').count()).toBe(0)
})

test('what the device refuses is rolled back, with the reason', async () => {
  const device = await offlineDevice()
  const items = itemsOf(device)
  await items.preload()
  const refused = items.insert([{ word: 'gato' }, { word: 'perro', level: 'z9' as 'a1' }])
  expect(items.size).toBe(2)
  const error = await refused.isPersisted.promise.catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(MareaError)
  expect(error).toMatchObject({ code: 'invalid_input', message: expect.stringMatching(/level: must be one of/) })
  expect(items.size).toBe(0)
  expect((await device.marea.status()).pending).toBe(0)
  // Set once: neither changed here nor on the server.
  const id = crypto.randomUUID()
  await items.insert({ id, word: 'gato', source: 'book' }).isPersisted.promise
  const changed = items.update(id, (draft) => void (draft.source = 'web'))
  await expect(changed.isPersisted.promise).rejects.toBeInstanceOf(MareaError)
  expect(items.get(id)?.source).toBe('book')
})

test('what the server refuses goes again, and is kept with the reason', async () => {
  const device = await offlineDevice()
  const items = itemsOf(device)
  await items.insert({ word: 'gato' }).isPersisted.promise
  device.network.serve(refusingServer('23514', 'vocabulary_items: no'))
  await device.marea.sync()
  await vi.waitFor(() => expect(items.size).toBe(0))
  expect(await device.marea.rejected()).toMatchObject([{ refusal: { code: '23514' } }])
})

test('one key twice is refused, and a key does not change', async () => {
  const items = itemsOf(await offlineDevice())
  const id = crypto.randomUUID()
  await items.insert({ id, word: 'gato' }).isPersisted.promise
  expect(() => items.insert({ id, word: 'perro' })).toThrow(/already exists/)
  expect(() => items.update(id, (draft) => void (draft.id = crypto.randomUUID()))).toThrow(/key/i)
  expect(() => items.delete(crypto.randomUUID())).toThrow()
})

test('changes of other tabs, and of calls beside the collection, arrive', async () => {
  const device = await offlineDevice()
  const tab = await device.openTab()
  const [here, there] = [itemsOf(device), itemsOf({ marea: tab })]
  await Promise.all([here.preload(), there.preload()])
  const seen: string[] = []
  const subscription = here.subscribeChanges((changes) => seen.push(...changes.map(({ type }) => type)))
  const id = crypto.randomUUID()
  await there.insert({ id, word: 'gato' }).isPersisted.promise
  await vi.waitFor(() => expect(wordsOf(here)).toEqual(['gato']))
  await device.marea.table('vocabulary_items').update(id, { word: 'gata' })
  await vi.waitFor(() => expect([wordsOf(here), wordsOf(there)]).toEqual([['gata'], ['gata']]))
  await there.delete(id).isPersisted.promise
  await vi.waitFor(() => expect(here.size).toBe(0))
  expect(seen).toEqual(['insert', 'update', 'delete'])
  subscription.unsubscribe()
})

test('live queries: where, order, join, aggregate', async () => {
  const device = await offlineDevice()
  const [items, reviews] = [itemsOf(device), reviewsOf(device)]
  const [cat, dog] = [crypto.randomUUID(), crypto.randomUUID()]
  await items.insert([{ id: cat, word: 'gato', level: 'a1' }, { id: dog, word: 'perro', level: 'a2' }]).isPersisted.promise
  await reviews.insert({ item_id: dog, times_seen: 4 }).isPersisted.promise
  const sorted = createLiveQueryCollection((q) => q.from({ i: items }).where(({ i }) => gt(i.word, 'a')).orderBy(({ i }) => i.word, 'desc'))
  const joined = createLiveQueryCollection((q) =>
    q.from({ r: reviews }).innerJoin({ i: items }, ({ r, i }) => eq(r.item_id, i.id)).select(({ r, i }) => ({ word: i.word, seen: r.times_seen })),
  )
  const counted = createLiveQueryCollection((q) =>
    q.from({ i: items }).groupBy(({ i }) => i.level).select(({ i }) => ({ level: i.level, words: count(i.id) })),
  )
  await Promise.all([sorted.preload(), joined.preload(), counted.preload()])
  expect(sorted.toArray.map(({ word }) => word)).toEqual(['perro', 'gato'])
  expect(joined.toArray).toMatchObject([{ word: 'perro', seen: 4 }])
  await items.update(dog, (draft) => void (draft.word = 'zorro')).isPersisted.promise
  await items.insert({ word: 'casa', level: 'a1' }).isPersisted.promise
  await vi.waitFor(() => expect(joined.toArray).toMatchObject([{ word: 'zorro' }]))
  expect(sorted.toArray.map(({ word }) => word)).toEqual(['zorro', 'gato', 'casa'])
  expect(counted.toArray.map(({ level, words }) => `${level} ${words}`).sort()).toEqual(['a1 2', 'a2 1'])
})

test('a transaction over two collections is one batch, or nothing', async () => {
  const device = await offlineDevice()
  const [items, reviews] = [itemsOf(device), reviewsOf(device)]
  await Promise.all([items.preload(), reviews.preload()])
  const id = crypto.randomUUID()
  const both = createTransaction({ mutationFn: mareaMutationFn, autoCommit: false })
  both.mutate(() => {
    items.insert({ id, word: 'gato' })
    reviews.insert({ item_id: id })
  })
  expect([items.size, reviews.size]).toEqual([1, 1])
  await both.commit()
  const queued = await device.marea.pending()
  expect(queued.map(({ table }) => table)).toEqual(['vocabulary_items', 'word_reviews'])
  expect(new Set(queued.map(({ batch }) => batch)).size).toBe(1)

  const neither = createTransaction({ mutationFn: mareaMutationFn })
  neither.mutate(() => {
    items.delete(id)
    reviews.insert({ item_id: 'no uuid' })
  })
  await expect(neither.isPersisted.promise).rejects.toMatchObject({ code: 'invalid_input' })
  expect([items.size, reviews.size]).toEqual([1, 1])

  const rolledBack = createTransaction({ mutationFn: mareaMutationFn, autoCommit: false })
  rolledBack.mutate(() => items.delete(id))
  expect(items.size).toBe(0)
  // Its promise says so to whoever waits for it.
  rolledBack.isPersisted.promise.catch(() => undefined)
  rolledBack.rollback()
  expect(items.size).toBe(1)
  expect((await device.marea.status()).pending).toBe(2)
})

test('collections of two mirrors are not one transaction, nor is one of another kind', async () => {
  const [one, other] = [await offlineDevice(), await offlineDevice()]
  const [here, there] = [itemsOf(one), itemsOf(other)]
  await Promise.all([here.preload(), there.preload()])
  const both = createTransaction({ mutationFn: mareaMutationFn })
  both.mutate(() => {
    here.insert({ word: 'uno' })
    there.insert({ word: 'dos' })
  })
  await expect(both.isPersisted.promise).rejects.toMatchObject({ code: 'invalid_input' })
  expect([here.size, there.size]).toEqual([0, 0])
})

test('a table of many pages is whole, and follows', async () => {
  const device = await offlineDevice()
  const table = device.marea.table('vocabulary_items')
  for (let from = 0; from < 2_100; from += 500) {
    const words = Array.from({ length: Math.min(500, 2_100 - from) }, (_, index) => `w${from + index}`)
    await device.marea.batch((tx) => words.forEach((word) => void tx.table('vocabulary_items').insert({ word })))
  }
  const items = itemsOf(device)
  await items.preload()
  expect(items.size).toBe(2_100)
  const [first] = items.toArray
  await table.delete(String(first?.id))
  await table.insert({ word: 'last' })
  await vi.waitFor(() => expect(items.toArray.some(({ word }) => word === 'last')).toBe(true))
  expect(items.size).toBe(2_100)
  expect(items.has(String(first?.id))).toBe(false)
})

test('cleaned up it follows no more, and starts again', async () => {
  const device = await offlineDevice()
  const items = itemsOf(device)
  await items.insert({ word: 'gato' }).isPersisted.promise
  await items.cleanup()
  expect(items.status).toBe('cleaned-up')
  await device.marea.table('vocabulary_items').insert({ word: 'perro' })
  await items.preload()
  expect(wordsOf(items)).toEqual(['gato', 'perro'])
  await items.insert({ word: 'zorro' }).isPersisted.promise
  expect(wordsOf(items)).toEqual(['gato', 'perro', 'zorro'])
})

test('a table that is not known yet is an error until it is', async () => {
  const learner = await newLearner()
  const device = await learner.device({ schema: undefined, online: false } as never)
  const items = createCollection(mareaCollectionOptions({ marea: device.marea, table: 'vocabulary_items' }))
  await expect(items.preload()).rejects.toMatchObject({ code: 'unknown_table' })
  await device.marea.setOnline(true)
  await device.marea.sync()
  await vi.waitFor(() => expect(items.status).toBe('ready'))
  await items.insert({ word: 'gato' }).isPersisted.promise
  expect(wordsOf(items)).toEqual(['gato'])
})

test('a write that is durable is done, also where the rows cannot be read after it', async () => {
  const device = await offlineDevice()
  const items = itemsOf(device)
  await items.preload()
  const batch = device.marea.batch.bind(device.marea)
  vi.spyOn(device.marea, 'batch').mockImplementationOnce(async (changes) => {
    const keys = await batch(changes)
    // As when the learner signs out.
    await device.marea.close()
    return keys
  })
  await items.insert({ word: 'gato' }).isPersisted.promise
  const marea = await device.reload()
  expect((await marea.table('vocabulary_items').list()).map(({ word }) => word)).toEqual(['gato'])
})

test('rows that cannot be read any more are an error until they can', async () => {
  const device = await offlineDevice()
  const tab = await device.openTab()
  const items = itemsOf(device)
  const live = createLiveQueryCollection((q) => q.from({ i: items }))
  await live.preload()
  live.subscribeChanges(() => undefined)
  const table = vi.spyOn(device.marea, 'table').mockImplementation(() => {
    throw new MareaError('mirror_locked', 'Another tab has it.', true)
  })
  await tab.table('vocabulary_items').insert({ word: 'gato' })
  await vi.waitFor(() => expect([items.status, live.status]).toEqual(['error', 'error']))
  table.mockRestore()
  // By itself: nothing else need change for it.
  await vi.waitFor(() => expect([items.status, live.status]).toEqual(['ready', 'ready']), { timeout: 10_000 })
  expect(wordsOf(items)).toEqual(['gato'])
  await items.insert({ word: 'perro' }).isPersisted.promise
  expect(live.size).toBe(2)
})

test('two devices, offline and back, and every write exactly once in Postgres', async () => {
  const learner = await newLearner()
  const [phone, laptop] = [await learner.device(), await learner.device()]
  const [here, there] = [reviewsOf(phone), reviewsOf(laptop)]
  const [item, id] = [crypto.randomUUID(), crypto.randomUUID()]
  await itemsOf(phone).insert({ id: item, word: 'gato' }).isPersisted.promise
  await here.insert({ id, item_id: item }).isPersisted.promise
  await phone.marea.sync()
  await laptop.marea.sync()
  await there.preload()
  await vi.waitFor(() => expect(there.size).toBe(1))
  for (const device of [phone, laptop]) device.network.offline()
  for (const reviews of [here, there]) {
    for (let times = 0; times < 3; times++) {
      await reviews.update(id, (draft) => void (draft.times_seen = Number(draft.times_seen) + 1)).isPersisted.promise
    }
  }
  expect([here.get(id)?.times_seen, there.get(id)?.times_seen]).toEqual([3, 3])
  // Neither a second tab nor a reload does anything twice.
  await phone.openTab()
  await phone.reload()
  for (const device of [phone, laptop]) device.network.online()
  for (const device of [phone, laptop, phone]) await device.marea.sync()
  expect(await inPostgres('SELECT times_seen FROM word_reviews WHERE user_id = $1', [learner.userId])).toEqual([{ times_seen: 6 }])
  const again = reviewsOf(phone)
  await again.preload()
  await vi.waitFor(() => expect([again.get(id)?.times_seen, there.get(id)?.times_seen]).toEqual([6, 6]))
})
