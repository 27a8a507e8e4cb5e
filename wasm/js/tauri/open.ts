// Opens a mirror in the data folder of a Tauri app, by the plugin `tauri-plugin-marea` (examples/tauri/plugin).

import { MareaError } from '../errors.js'
import type { Marea } from '../marea.js'
import type { Addon, NativeMirror, Outcome } from '../native/addon.js'
import { openNative } from '../native/open.js'
import type { NativeGuestOptions, NativeOptions } from '../native/open.js'
import type { RegisteredSchema } from '../schema.js'

/** What is used of `@tauri-apps/api/core`. */
export interface TauriCore {
  invoke<T>(command: string, args?: Record<string, unknown>): Promise<T>
  Channel: new <T>() => { onmessage: (event: T) => void }
}

interface Place {
  /** `import * as tauri from '@tauri-apps/api/core'`, or `window.__TAURI__.core`. */
  tauri: TauriCore
}

export type TauriOptions = NativeOptions & Place
export type TauriGuestOptions = NativeGuestOptions & Place

/**
 * Opens the user's mirror, making it if it is not there yet, and starts to sync in the background, in the app's process. Needs no
 * network. When the page is loaded again it opens it again.
 *
 * Rejects with a {@link MareaError}: `invalid_input` for an option that is missing or cannot be right, `worker_failed` when the app has no
 * plugin or does not allow this window to call it, `storage_failed` when the file cannot be used.
 */
export async function open<S = RegisteredSchema>(options: TauriOptions | TauriGuestOptions): Promise<Marea<S>> {
  const { tauri } = (options ?? {}) as Partial<Place>
  if (typeof tauri?.invoke !== 'function' || typeof tauri.Channel !== 'function') {
    throw new MareaError('invalid_input', "tauri: expected the module '@tauri-apps/api/core'", false)
  }
  return openNative<S>(options, {
    addon: () => pluginOf(tauri),
    hasGuest: () => true,
  })
}

function pluginOf({ invoke, Channel }: TauriCore): Addon {
  const call = <T>(command: string, args: Record<string, unknown>): Promise<T> => invoke<T>(`plugin:marea|${command}`, args)
  const wired = async (command: string, args: Record<string, unknown>): Promise<Outcome> => {
    const { bytes, ...outcome } = await call<Omit<Outcome, 'bytes'> & { bytes?: string }>(command, args)
    return bytes === undefined ? outcome : { ...outcome, bytes: fromBase64(bytes) }
  }
  const mirrorOf = (mirror: number): NativeMirror => ({
    call: (method, args, bytes) => wired('call', { mirror, method, arguments: args, bytes: bytes ? toBase64(bytes) : null }),
    token: (question, token, failed) => void call('token', { mirror, question, token, failed }).catch(() => undefined),
    close: (erase) => wired('close', { mirror, erase }),
  })
  return {
    async open(options, listener) {
      try {
        const channel = new Channel<string>()
        channel.onmessage = listener
        return mirrorOf(await call<number>('open', { options, listener: channel }))
      } catch (error) {
        // The plugin's own refusals are errors as JSON; Tauri's are sentences.
        if (typeof error === 'string' && error.startsWith('{')) return error
        const message = 'The plugin does not answer: add tauri_plugin_marea::init() to the app, and marea:default to the capabilities of this window.'
        throw new MareaError('worker_failed', message, false)
      }
    },
  }
}

function toBase64(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000))
  return btoa(text)
}

const fromBase64 = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))
