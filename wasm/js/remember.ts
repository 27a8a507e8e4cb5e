// "Remember this device": the data key, wrapped by a key that this browser holds and that no script can read out.
//
// Whoever can run scripts on this site can still use it. It keeps the key from being read out of the profile's files by name.

import { MareaError } from './errors.js'

const DATABASE = 'marea-vault'
const STORE = 'devices'

interface Kept {
  key: CryptoKey
  iv: Uint8Array<ArrayBuffer>
  wrapped: ArrayBuffer
}

export async function rememberKey(userId: string, dataKey: Uint8Array): Promise<void> {
  const key = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
  const iv = crypto.getRandomValues(new Uint8Array(12))
  const clear = new Uint8Array(dataKey)
  const wrapped = await crypto.subtle.encrypt(bound(iv, userId), key, clear)
  clear.fill(0)
  const kept: Kept = { key, iv, wrapped }
  await inStore('readwrite', (store) => store.put(kept, nameOf(userId)))
}

/** The data key; null when none is kept here or can be read, or what is kept is no longer whole. */
export async function keptKey(userId: string): Promise<Uint8Array | null> {
  if (!globalThis.indexedDB || !globalThis.crypto?.subtle) return null
  try {
    const kept = (await inStore('readonly', (store) => store.get(nameOf(userId)))) as Kept | undefined
    if (!kept) return null
    return new Uint8Array(await crypto.subtle.decrypt(bound(kept.iv, userId), kept.key, kept.wrapped))
  } catch {
    return null
  }
}

export async function forgetKey(userId: string): Promise<void> {
  if (globalThis.indexedDB) await inStore('readwrite', (store) => store.delete(nameOf(userId))).catch(ignoreBlocked)
}

/** Where nothing may be kept, nothing was. */
function ignoreBlocked(error: unknown): void {
  if (!(error instanceof MareaError) || error.code !== 'storage_unavailable') throw error
}

/** The same id is the same user, however it is written. */
const nameOf = (userId: string): string => userId.toLowerCase()

const bound = (iv: Uint8Array<ArrayBuffer>, userId: string): AesGcmParams => ({
  name: 'AES-GCM',
  iv,
  additionalData: new TextEncoder().encode(`marea device ${nameOf(userId)}`),
})

async function inStore(mode: IDBTransactionMode, use: (store: IDBObjectStore) => IDBRequest): Promise<unknown> {
  const database = await openDatabase()
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode)
      const request = use(transaction.objectStore(STORE))
      transaction.oncomplete = () => resolve(request.result)
      transaction.onabort = () => reject(transaction.error ?? new Error('IndexedDB'))
    })
  } finally {
    database.close()
  }
}

async function openDatabase(): Promise<IDBDatabase> {
  try {
    const opening = indexedDB.open(DATABASE, 1)
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE)
    return await new Promise<IDBDatabase>((resolve, reject) => {
      opening.onsuccess = () => resolve(opening.result)
      opening.onerror = () => reject(opening.error)
    })
  } catch (error) {
    const name = error instanceof DOMException ? error.name : 'unknown'
    throw new MareaError('storage_unavailable', `This browser keeps nothing for this page (IndexedDB: ${name}).`, false)
  }
}
