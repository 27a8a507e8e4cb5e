// The learner's API keys, as an app holds them: sealed with a passphrase on this device, clear only inside of `use`.

import { checkRewrapOnly } from './check.js'
import { checkFunction } from './check-kinds.js'
import type { Access } from './access.js'
import type { ApiProvider, KeysStatus, PassphraseOptions, PassphraseOutcome, Recorded } from './types.js'
import type { Watches } from './watches.js'
import type { ErrorListener, Listener } from './watch.js'

/**
 * The vault. What it can do for a key in JavaScript has limits, and they are these: a passphrase is a string, and strings stay
 * in memory until the browser collects them; a key that is handed to `use` is cleared afterwards, but a string made from it, and a
 * request header that holds it, are not; and any script that runs on the page while the vault is open can do what the app can do.
 */
export class Keys {
  readonly #access: Access
  readonly #watches: Watches

  /** @internal */
  constructor(access: Access, watches: Watches) {
    this.#access = access
    this.#watches = watches
  }

  /** Whether the vault is open, and which keys there are: with a hint (`sk-...a1B2`) while it is open. */
  status(): Promise<KeysStatus> {
    return this.#access.call('keysStatus')
  }

  /** Calls `listener` with the status as it is, and after every change in any tab. Returns how to stop. */
  watch(listener: Listener<KeysStatus>, onError?: ErrorListener): () => void {
    return this.#watches.shared('keys', ['keys'], () => this.status(), listener, onError)
  }

  /**
   * Chooses the first passphrase. The vault is open afterwards, in all tabs. Fewer than 15 characters, or what is easily guessed, is
   * `invalid_input` with the reason; {@link Keys.generatePassphrase} makes one to offer.
   */
  async setUp(passphrase: string): Promise<void> {
    await this.#access.call('keysWork', { kind: 'set_up', next: passphrase })
  }

  /** A passphrase that nobody guesses, to offer to the learner: five words that can be spoken, 80 random bits. */
  generatePassphrase(): Promise<string> {
    return this.#access.call('keysGenerate')
  }

  /** Opens the vault; when it is open, opens what else this passphrase opens. The outcome says which keys need another one. */
  unlock(passphrase: string): Promise<PassphraseOutcome> {
    return this.#access.call('keysWork', { kind: 'unlock', current: passphrase })
  }

  /** Locks the vault, in all tabs. */
  lock(): Promise<void> {
    return this.#access.call('keysLock')
  }

  /** Locks by itself when nothing was asked of the vault for so many milliseconds; null: never. It starts with 15 minutes. */
  lockAfter(millis: number | null): Promise<void> {
    return this.#access.call('keysLockAfter', millis)
  }

  /**
   * Seals a key, in place of the provider's last one. Resolves when it is durable on this device. `other_passphrase` when the
   * passphrase was changed on another device: unlock with the new one.
   */
  put(provider: ApiProvider, key: string): Promise<Recorded> {
    return this.#access.call('keysPut', provider, key)
  }

  /** Hands a key, as UTF-8, to `use`, and clears it when that has ended. Do not keep the array. */
  async use<T>(provider: ApiProvider, use: (key: Uint8Array) => T | Promise<T>): Promise<T> {
    checkFunction('use', use)
    const key = await this.#access.call('keysOpen', provider)
    try {
      return await use(key)
    } finally {
      key.fill(0)
    }
  }

  /** Has a key checked by `accepts` (which asks its provider), and notes when it was accepted. */
  async validate(provider: ApiProvider, accepts: (key: Uint8Array) => boolean | Promise<boolean>): Promise<boolean> {
    checkFunction('accepts', accepts)
    const accepted = await this.use(provider, accepts)
    if (accepted) await this.#access.call('keysValidated')
    return accepted
  }

  /** Takes a provider's key away, on all devices. Needs no passphrase. */
  remove(provider: ApiProvider): Promise<Recorded> {
    return this.#access.call('keysRemove', provider)
  }

  /**
   * Changes the passphrase, and seals everything with a new data key: who knows the old passphrase and has an old envelope opens
   * nothing that is put from now on. Keys that other devices seal meanwhile open with the new one too. Where there was a recovery
   * code, the outcome has a new one, to be shown once; a remembered browser is forgotten.
   */
  async changePassphrase(current: string, next: string, options: PassphraseOptions = {}): Promise<PassphraseOutcome> {
    const kind = checkRewrapOnly(options) ? 'rewrap' : 'change'
    return this.#access.call('keysWork', { kind, current, next })
  }

  /** Seals everything with a new data key. Where there was a recovery code, the outcome has a new one, to be shown once. */
  rotate(current: string): Promise<PassphraseOutcome> {
    return this.#access.call('keysWork', { kind: 'rotate', current })
  }

  /** Makes a recovery code, in place of the one before. It can be shown now and never again. */
  makeRecoveryCode(): Promise<string> {
    return this.#access.call('keysRecoveryCode')
  }

  /** Chooses a new passphrase with the recovery code, as {@link Keys.changePassphrase}. The outcome has a new code, to be shown once. */
  async recover(code: string, next: string, options: PassphraseOptions = {}): Promise<PassphraseOutcome> {
    const kind = checkRewrapOnly(options) ? 'recover_rewrap' : 'recover'
    return this.#access.call('keysWork', { kind, code, next })
  }

  /** Lets this browser open the vault without the passphrase from now on, with a key of its own that no script can read. */
  rememberDevice(): Promise<void> {
    return this.#access.call('keysRemember')
  }

  /** Opens the vault with what this browser remembers; false when that is nothing: then ask for the passphrase. */
  unlockRemembered(): Promise<boolean> {
    return this.#access.call('keysUnlockRemembered')
  }

  /** Ends {@link Keys.rememberDevice}. */
  forgetDevice(): Promise<void> {
    return this.#access.call('keysForget')
  }

  /** Gives up all keys and the passphrase, on all devices: for who has forgotten it and has no recovery code. */
  reset(): Promise<void> {
    return this.#access.call('keysReset')
  }
}
