// The writes that were under way when their page was left: each noted in `localStorage`, which a page can still write to while it
// goes, and taken up by the next one that opens the mirror. Each has the id of its mutation, so one that was done after all is
// not done again (docs/adr/0079-a-page-that-leaves-notes-its-calls.md).
//
// Passphrases and API keys are no writes of this kind, and are never noted.

import type { Write } from './types.js'

// Another tab that is left notes its calls too, and mostly sees them done a moment later.
const OTHERS_WAIT_MS = 1_000

export class Journal {
  readonly #prefix: string
  readonly #noted = new Set<string>()
  #leaving = document.visibilityState === 'hidden'
  #gone = false
  /** Those that were done after the page had been left. */
  #late: Write[] = []
  #timer: ReturnType<typeof setTimeout> | undefined

  /** For the tabs that meet under this name. `left` is told that another tab has left something, until `signal` is aborted. */
  constructor(meeting: string, left: () => void, signal: AbortSignal) {
    this.#prefix = `${meeting}:unanswered:`
    const noted = ({ key, newValue }: StorageEvent): void => {
      if (!key?.startsWith(this.#prefix) || newValue === null) return
      clearTimeout(this.#timer)
      this.#timer = setTimeout(left, OTHERS_WAIT_MS)
    }
    window.addEventListener('storage', noted, { signal })
    signal.addEventListener('abort', () => clearTimeout(this.#timer))
  }

  /** The page may not live to see these answered, nor any that it makes from now on. */
  leave(writes: Write[], gone: boolean): void {
    this.#leaving = true
    this.#gone ||= gone
    for (const write of writes) this.#note(write)
  }

  stay(): void {
    this.#leaving = this.#gone = false
    for (const write of this.#late.splice(0)) this.forget(write)
  }

  begun(write: Write): void {
    if (this.#leaving) this.#note(write)
  }

  ended(write: Write): void {
    if (!this.#noted.delete(write.id)) return
    // Where a page that has been left writes an image, the next one may have opened the mirror before that reached it.
    if (this.#gone) this.#late.push(write)
    else this.forget(write)
  }

  /** What other pages have left, in the order in which it was made. What cannot be read is no write, and is thrown away. */
  left(): Write[] {
    const writes: Write[] = []
    attempt(() => {
      for (const key of Object.keys(localStorage)) {
        const id = key.slice(this.#prefix.length)
        if (!key.startsWith(this.#prefix) || this.#noted.has(id)) continue
        const write = read(localStorage.getItem(key))
        if (write?.id === id) writes.push(write)
        else localStorage.removeItem(key)
      }
    })
    return writes.sort((one, other) => (one.id < other.id ? -1 : 1))
  }

  forget(write: Write): void {
    attempt(() => localStorage.removeItem(this.#prefix + write.id))
  }

  #note(write: Write): void {
    this.#noted.add(write.id)
    attempt(() => localStorage.setItem(this.#prefix + write.id, JSON.stringify(dated(write))))
  }
}

function read(text: string | null): Write | null {
  try {
    return JSON.parse(text ?? '') as Write | null
  } catch {
    return null
  }
}

/** What is done now and noted for later happened now. */
function dated(write: Write): Write {
  const now = new Date().toISOString()
  if (write.kind === 'record_session') {
    const { started_at, duration_minutes, ended_at } = write.input
    if (ended_at || (started_at && duration_minutes !== undefined)) return write
    return { ...write, input: { ...write.input, ended_at: now } }
  }
  return write.kind === 'record_event' ? { ...write, input: { occurred_at: now, ...write.input } } : write
}

/** Full, or blocked: then nothing is kept, and a page that is left before its call is answered loses it. */
function attempt(call: () => void): void {
  try {
    call()
  } catch {
    // As said.
  }
}
