// Takes words of a picture into the learner's lists.
//
// Their keys follow from what they are, so that two devices that take the same word without a network have one word
// afterwards, in one list, and not two.

import type { Marea } from '@marea/client'
import type { Language, Pair, Picture } from './content'

/** A UUID (version 8, RFC 9562) that is the same wherever it is made of the same words. */
async function keyFrom(...parts: string[]): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(parts)))).slice(0, 16)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** All or none of them; a list for the picture is made where there is none. */
export async function collect(marea: Marea, userId: string, picture: Picture, words: readonly Pair[], target: Language, own: Language): Promise<void> {
  const list = await keyFrom(userId, target, picture.id)
  const keys = await Promise.all(words.map((word) => keyFrom(userId, target, picture.id, word[target])))
  const now = new Date()
  // A list that is there keeps its name, which the learner may have changed.
  const isThere = (await marea.table('word_lists').get(list)) !== null
  await marea.batch((batch) => {
    if (!isThere) batch.table('word_lists').insert({ id: list, title: picture.title[target], language: target, created_at: now })
    words.forEach((word, index) =>
      batch.table('words').insert({ id: keys[index] as string, list_id: list, word: word[target], meaning: word[own], picture: picture.id, created_at: now }),
    )
  })
}

/** Deletes a list with its words, in batches as large as they may be: the list goes with the last. */
export async function deleteList(marea: Marea, list: string): Promise<void> {
  for (;;) {
    const words = await marea.table('words').list({ where: { list_id: list }, limit: 400 })
    await marea.batch((batch) => {
      for (const { id } of words) batch.table('words').delete(id)
      if (words.length < 400) batch.table('word_lists').delete(list)
    })
    if (words.length < 400) return
  }
}
