// What the page of two devices and the app in its frames say to each other. Nothing here is for a page of another origin:
// both ends take messages only from the addresses that the server's configuration names.

export interface Account {
  email: string
  password: string
}

/** What the page asks of a device. */
export type Order =
  | ({ do: 'sign-up' } & Account)
  | ({ do: 'sign-in' } & Account)
  | { do: 'airplane'; on: boolean }
  | { do: 'go'; steps: string[] }
  | { do: 'collect'; picture: string; words: number[] }
  | { do: 'practise'; questions: number; correct: number; minutes: number }
  | { do: 'sync' }

/** What a device shows, as numbers. */
export interface Shown {
  sessions: number
  minutes: number
  words: number
  pending: number
  airplane: boolean
  level: string
  /** Whether it is told of changes at once. */
  awake: boolean
}

/** What a device tells the page. */
export type Report = { say: 'account'; email: string | null } | { say: 'shown'; email: string; shown: Shown } | { say: 'refused' }

interface Envelope<T> {
  marea: T
}

const isEnvelope = (data: unknown): data is Envelope<never> => typeof data === 'object' && data !== null && 'marea' in data

export function send<T extends Order | Report>(target: Window, origin: string, message: T): void {
  target.postMessage({ marea: message } satisfies Envelope<T>, origin)
}

/** Calls `listener` with each message of one of `origins` that `from` sent. Returns how to stop. */
export function listen<T extends Order | Report>(origins: readonly string[], from: () => Window | null, listener: (message: T) => void): () => void {
  const heard = (event: MessageEvent): void => {
    if (!origins.includes(event.origin) || event.source !== from() || !isEnvelope(event.data)) return
    listener(event.data.marea as T)
  }
  addEventListener('message', heard)
  return () => removeEventListener('message', heard)
}
