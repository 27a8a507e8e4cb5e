// The engine's module: fetched and compiled once for a page, however many mirrors it opens and however often it tries.
//
// The page does it and not the worker, so that both files are asked for at once, that a `preload` of the page counts, and
// that another try, or another worker, finds the module compiled. What is limited is silence, never bytes.

import { MareaError } from './errors.js'
import { moduleRefused, Refusals } from './policy.js'

/** How much of the engine's module has come. */
export interface Loading {
  /** Bytes so far, as they are when unpacked. */
  loaded: number
  /** Bytes of the whole. */
  total: number
}

// Written into the built package. A server that compresses says another length.
declare const MODULE_BYTES: number

// No byte for so long is told to whoever waits. The download goes on: the next try finds what has come by then.
const SILENCE_LIMIT_MS = 12_000

export class ModuleDownload {
  readonly compiled: Promise<WebAssembly.Module>
  readonly #listeners = new Set<(loading: Loading) => void>()
  readonly #stop = new AbortController()
  #loaded = 0
  #heardAt = performance.now()
  #finished = false

  constructor(address: URL) {
    const over = new AbortController()
    const refusals = new Refusals(document, over.signal)
    this.compiled = this.#fetch(address).then(
      (module) => {
        over.abort()
        this.#finished = true
        return module
      },
      async (error: unknown) => {
        // The event that names a policy may come after the failure.
        await new Promise((resolve) => setTimeout(resolve))
        over.abort()
        if (error instanceof MareaError) throw error
        throw moduleRefused(error, refusals) ?? new MareaError('worker_failed', notLoaded(address, error), true)
      },
    )
    // Whoever waits hears of it by `wait`.
    this.compiled.catch(() => undefined)
  }

  get loading(): Loading {
    return { loaded: this.#loaded, total: Math.max(MODULE_BYTES, this.#loaded) }
  }

  /** Waits for the module for as long as it comes. Rejects when it cannot be had, and when nothing comes for a while. */
  async wait(heard: (loading: Loading) => void): Promise<WebAssembly.Module> {
    this.#listeners.add(heard)
    let timer: ReturnType<typeof setInterval> | undefined
    // A download that was silent before this wait is given its time again.
    const since = performance.now()
    const silent = new Promise<never>((_, reject) => {
      timer = setInterval(() => {
        if (performance.now() - Math.max(since, this.#heardAt) >= SILENCE_LIMIT_MS) reject(this.#stalled())
      }, 500)
    })
    try {
      const module = await Promise.race([this.compiled, silent])
      heard(this.loading)
      return module
    } finally {
      clearInterval(timer)
      this.#listeners.delete(heard)
    }
  }

  /** Whether nothing has come of it for so long that another try had better begin again. */
  get isDead(): boolean {
    return !this.#finished && performance.now() - this.#heardAt >= 2 * SILENCE_LIMIT_MS
  }

  stop(): void {
    this.#stop.abort()
  }

  async #fetch(address: URL): Promise<WebAssembly.Module> {
    // Its text: some bundlers give a path that only looks like an URL.
    const response = await fetch(String(address), { signal: this.#stop.signal })
    if (!response.ok) throw new MareaError('worker_failed', notServed(address, response), true)
    this.#heard(0)
    const count = new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        this.#heard(chunk.byteLength)
        controller.enqueue(chunk)
      },
    })
    const body = response.body?.pipeThrough(count) ?? (await response.arrayBuffer())
    // Whatever type the server gives it: what is no module is refused all the same.
    return WebAssembly.compileStreaming(new Response(body, { headers: { 'content-type': 'application/wasm' } }))
  }

  #heard(bytes: number): void {
    this.#heardAt = performance.now()
    this.#loaded += bytes
    for (const listener of [...this.#listeners]) listener(this.loading)
  }

  #stalled(): MareaError {
    const { loaded, total } = this.loading
    const message =
      `Nothing has come of marea_wasm_bg.wasm for ${SILENCE_LIMIT_MS / 1000} s (${loaded} of ${total} bytes are here): ` +
      'the line is too slow now, or gone. Try again; what has come is kept.'
    return new MareaError('worker_failed', message, true)
  }
}

let download: ModuleDownload | null = null

/** The module of this page. One that could not be had is asked for again. */
export function downloadModule(): ModuleDownload {
  if (download?.isDead) {
    download.stop()
    download = null
  }
  if (!download) {
    // Written out in one expression, because that is the form that bundlers look for.
    const begun = new ModuleDownload(new URL('./marea_wasm_bg.wasm', import.meta.url))
    begun.compiled.catch(() => {
      if (download === begun) download = null
    })
    download = begun
  }
  return download
}

function notServed(address: URL, { status }: Response): string {
  return `The server answered ${status} for ${String(address)}. Serve marea_wasm_bg.wasm there.`
}

function notLoaded(address: URL, error: unknown): string {
  const reason = error instanceof Error ? error.message : 'unknown'
  return `${String(address)} could not be loaded (${reason}). Check the network, and that marea_wasm_bg.wasm is served there.`
}
