// The vault at the leader: passphrases are made into keys by WebCrypto, off every thread that matters, and the engine gets
// what was made.
//
// Holds no secret between calls but what the engine holds.

import type { LeaderContext } from './handlers.js'
import type { MareaEngine, VaultWork } from './marea_wasm.js'
import { forgetKey, keptKey, rememberKey } from './remember.js'
import type { ApiProvider, KeysStatus, PassphraseOutcome, Recorded } from './types.js'

/** What is to be done with a passphrase. */
export type PassphraseWork =
  | { kind: 'set_up'; next: string }
  | { kind: 'unlock' | 'rotate'; current: string }
  | { kind: 'change' | 'rewrap'; current: string; next: string }
  | { kind: 'recover' | 'recover_rewrap'; code: string; next: string }

export async function work(context: LeaderContext, asked: PassphraseWork): Promise<PassphraseOutcome> {
  const next = 'next' in asked ? passphraseOf(asked.next) : ''
  // Where WebCrypto derives, the engine sees no passphrase but here, and clears it.
  if ('next' in asked) context.engine.checkNewPassphrase(next)
  const current = 'current' in asked ? passphraseOf(asked.current) : ''
  const begun = context.engine.beginVaultWork(asked.kind, 'code' in asked ? asked.code : undefined)
  try {
    for (let which = begun.which; which; which = begun.which) {
      await derive(begun, which === 'new' ? next : current)
    }
  } finally {
    await pushOut()
  }
  // The engine takes the work over, also when it refuses it.
  const outcome = context.engine.finishVaultWork(begun) as PassphraseOutcome
  written(context)
  return outcome
}

async function derive(begun: VaultWork, passphrase: string): Promise<void> {
  if (!globalThis.crypto?.subtle) {
    // An insecure page has no WebCrypto. Such a page has no OPFS either, so this runs where the page itself runs.
    begun.derive(passphrase)
    return
  }
  const bytes = new TextEncoder().encode(passphrase)
  const key = await crypto.subtle.importKey('raw', bytes, 'PBKDF2', false, ['deriveBits'])
  bytes.fill(0)
  const salt = new Uint8Array(begun.salt)
  const algorithm = { name: 'PBKDF2', hash: 'SHA-256', salt, iterations: begun.rounds }
  const derived = new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, 256))
  begun.supply(derived)
  derived.fill(0)
}

/** More than Firefox keeps: 150 in 153, measured; they take 10 ms. */
const PUSHED_RESULTS = 256

/**
 * Firefox keeps the last results of PBKDF2 for as long as it runs, and the passphrases with them (NSS, bug 1606992): they would outlive
 * the lock. As many results of nothing, of one round each, leave no room for them.
 */
async function pushOut(): Promise<void> {
  if (!globalThis.crypto?.subtle || !globalThis.navigator?.userAgent.includes('Firefox')) return
  const nothing = await crypto.subtle.importKey('raw', new Uint8Array(1), 'PBKDF2', false, ['deriveBits'])
  const one = (): Promise<ArrayBuffer> => {
    const algorithm = { name: 'PBKDF2', hash: 'SHA-256', salt: crypto.getRandomValues(new Uint8Array(16)), iterations: 1 }
    return crypto.subtle.deriveBits(algorithm, nothing, 256)
  }
  await Promise.all(Array.from({ length: PUSHED_RESULTS }, one))
}

export function generate(context: LeaderContext): string {
  return context.engine.generatePassphrase()
}

export function status(context: LeaderContext): KeysStatus {
  return context.engine.vaultStatus() as KeysStatus
}

export function put(context: LeaderContext, provider: ApiProvider, key: string): Recorded {
  const recorded = context.engine.putKey(provider, key) as Recorded
  written(context)
  return recorded
}

export function open(context: LeaderContext, provider: ApiProvider): Uint8Array {
  const key = context.engine.openKey(provider)
  watchClock(context)
  // The answer is a copy that is made before this: the key stays in the memory of none but the tab that asked.
  queueMicrotask(() => key.fill(0))
  return key
}

export function remove(context: LeaderContext, provider: ApiProvider): Recorded {
  const recorded = context.engine.removeKey(provider) as Recorded
  written(context)
  return recorded
}

export function recoveryCode(context: LeaderContext): string {
  const code = context.engine.makeRecoveryCode()
  written(context)
  return code
}

export function lock(context: LeaderContext): void {
  context.engine.lockVault()
  context.changed('keys')
}

export function lockAfter(context: LeaderContext, millis: number | null): void {
  context.engine.lockVaultAfter(millis ?? undefined)
  context.changed('keys')
  watchClock(context)
}

export function validated(context: LeaderContext): void {
  context.engine.keysValidated()
  written(context)
}

export function reset(context: LeaderContext): void {
  context.engine.resetVault()
  written(context)
}

/** Wraps the data key with a key of this browser that no script can read out, and keeps the wrapped form. */
export async function remember(context: LeaderContext): Promise<void> {
  const dataKey = context.engine.dataKeyToRemember()
  try {
    await rememberKey(context.userId, dataKey)
  } finally {
    dataKey.fill(0)
  }
}

/** Opens the vault with what this browser remembers; false when it remembers nothing, or nothing that still opens it. */
export async function unlockRemembered(context: LeaderContext): Promise<boolean> {
  const dataKey = await keptKey(context.userId)
  if (!dataKey) return false
  try {
    context.engine.unlockWithDataKey(dataKey)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'vault_forgotten')) throw error
    await forgetKey(context.userId)
    return false
  } finally {
    dataKey.fill(0)
  }
  written(context)
  return true
}

export const forget = (context: LeaderContext): Promise<void> => forgetKey(context.userId)

function written(context: LeaderContext): void {
  context.changed('keys', 'queue', 'status')
  context.loop.poke()
  watchClock(context)
}

const clocks = new WeakMap<MareaEngine, ReturnType<typeof setTimeout>>()
// The longest time that `setTimeout` takes; later than that it looks again.
const LONGEST_MS = 2 ** 31 - 1

/** Sees to it that the data key is forgotten when its time has come, also when nobody asks for anything. */
function watchClock(context: LeaderContext): void {
  clearTimeout(clocks.get(context.engine))
  const { locks_at: at } = status(context)
  if (!at) return
  const look = (): void => {
    try {
      if (status(context).state !== 'unlocked') context.changed('keys')
      else watchClock(context)
    } catch {
      // The engine was closed meanwhile, and its keys with it.
    }
  }
  const wait = Math.max(0, Math.min(Date.parse(at) - Date.now() + 1, LONGEST_MS))
  clocks.set(context.engine, setTimeout(look, wait))
}

/** The form in which the same letters are the same passphrase on every system. */
function passphraseOf(text: string): string {
  if (typeof text !== 'string' || text === '') throw invalid('a passphrase is a text that is not empty')
  const normal = text.normalize('NFKC')
  if (new TextEncoder().encode(normal).length > 1024) throw invalid('a passphrase has at most 1024 bytes')
  return normal
}

function invalid(problem: string): Error {
  return Object.assign(new Error(problem), { name: 'MareaError', code: 'invalid_input', retry: false })
}
