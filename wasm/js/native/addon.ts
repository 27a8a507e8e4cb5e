// What carries the calls to the native engine, as text: an addon of Node's, or a plugin of Tauri's. Types only.

/** What became of a call: one of these is there. */
export interface Outcome {
  /** A value, as JSON. */
  json?: string
  text?: string
  bytes?: Uint8Array<ArrayBuffer>
  /** A `WireError`, as JSON. */
  error?: string
}

/** An open mirror there (native/src/calls/). */
export interface NativeMirror {
  call(method: string, args: string, bytes?: Uint8Array): Promise<Outcome>
  token(question: number, token: string | null, failed: boolean): void
  close(erase: boolean): Promise<Outcome>
}

export interface Addon {
  /** Gives the mirror, or a `WireError` as JSON. */
  open(options: string, listener: (event: string) => void): Promise<NativeMirror | string>
}
