// Whose turn it is to lead where the browser has no Web Locks (insecure contexts): by asking.
//
// Who wants to lead asks whether somebody does. A leader answers at once, also in a hidden tab whose timers are slowed
// down, because messages are not. Silence means that there is none. Two who ask at the same time let the greater name
// go first. Should both come to lead all the same, the name beside the image keeps the first from writing (storage in
// marea-wasm), and it makes room.

import { makeName } from './ids.js'

const ANSWER_WAIT_MS = 400
const ASK_AGAIN_MS = 700

type Word = { kind: 'who-leads'; name: string } | { kind: 'i-lead' }

/** Waits until nobody leads, as long as it takes. The lead is held until the returned function is called. */
export async function waitForElection(meeting: string, signal: AbortSignal): Promise<() => void> {
  const channel = new BroadcastChannel(`${meeting}:lease`)
  const name = makeName()
  const say = (word: Word): void => channel.postMessage(word)
  let leading = false
  let answered = false
  channel.addEventListener('message', ({ data }: MessageEvent<Word>) => {
    if (data.kind === 'i-lead') answered = true
    else if (leading || data.name < name) say({ kind: 'i-lead' })
    // It may have come too late to hear this one ask, and would take silence for its turn, too.
    else answered = true
  })
  const release = (): void => channel.close()
  signal.addEventListener('abort', release)
  for (;;) {
    if (signal.aborted) throw new DOMException('No longer wanted.', 'AbortError')
    answered = false
    say({ kind: 'who-leads', name })
    await pause(ANSWER_WAIT_MS)
    if (!answered) break
    await pause(ASK_AGAIN_MS)
  }
  leading = true
  return release
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
