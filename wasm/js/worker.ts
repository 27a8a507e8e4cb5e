// The dedicated worker: the only place where the mirror is open.
//
// Each call is one call of the engine. It takes the user's lock first, so that a second tab is told and never gets an
// empty database, and it asks the page for access tokens, so that none is kept here.

import { MareaError, toWire } from './errors.js'
import { takeLock } from './lock.js'
import { SyncLoop } from './loop.js'
import init, { MareaEngine } from './marea_wasm.js'
import type { Answer, Args, Method, ToPage, ToWorker, Topic, WorkerOptions } from './protocol.js'
import type { ActivityDay, Progress, SyncReport } from './types.js'

// How long a reload may have to wait for the page before it to let go.
const LOCK_WAIT_MS = 5_000
const LOCK_RETRY_MS = 25
// A page that does not answer for a token (it may be frozen) must not hold up the loop for ever.
const TOKEN_WAIT_MS = 30_000

interface WorkerScope {
  postMessage(message: ToPage): void
  addEventListener(type: 'message', listener: (event: MessageEvent<ToWorker>) => void): void
}
const scope = self as unknown as WorkerScope

// Fetched and compiled while the page's first message is under way. A failure is told by `open`. The address is written
// out, because that is the form that bundlers look for.
const wasmReady = init({ module_or_path: new URL('./marea_wasm_bg.wasm', import.meta.url) }).then(
  () => null,
  () => new MareaError('worker_failed', 'marea_wasm_bg.wasm could not be loaded. Check that it is served.', true),
)

let engine: MareaEngine | null = null
let loop: SyncLoop | null = null
let broken: MareaError | null = null
let nextTokenId = 1
const tokensWanted = new Map<number, (token: string | null) => void>()

function changed(...topics: Topic[]): void {
  scope.postMessage({ kind: 'changed', topics })
}

function wantToken(fresh: boolean): Promise<string | null> {
  const id = nextTokenId++
  return new Promise((resolve) => {
    const timer = setTimeout(() => settle(null), TOKEN_WAIT_MS)
    const settle = (token: string | null): void => {
      clearTimeout(timer)
      tokensWanted.delete(id)
      resolve(token)
    }
    tokensWanted.set(id, settle)
    scope.postMessage({ kind: 'token-wanted', id, fresh })
  })
}

/** The lock says that the other page is gone; its file handles may take a moment longer. */
async function openEngine(options: WorkerOptions, deadline: number): Promise<MareaEngine> {
  for (;;) {
    try {
      const onChanged = (): void => changed('progress', 'status')
      return await MareaEngine.open(options.url, options.anonKey, options.userId, wantToken, onChanged)
    } catch (error) {
      if (toWire(error).code !== 'mirror_locked' || Date.now() >= deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, LOCK_RETRY_MS))
    }
  }
}

async function open(options: WorkerOptions): Promise<void> {
  const deadline = Date.now() + LOCK_WAIT_MS
  await takeLock(`marea:${options.userId.toLowerCase()}`, LOCK_WAIT_MS)
  const failure = await wasmReady
  if (failure) throw failure
  engine = await openEngine(options, deadline)
  if (!options.online) engine.signal('offline')
  loop = new SyncLoop(engine, options.online, () => changed('status'))
  void loop.run()
}

/** Not a failure: the answer of a sync that the app itself has forbidden. */
function offlineReport(open: MareaEngine): SyncReport {
  const { pending } = open.status()
  return { outcome: 'offline', pushed: 0, rejected: 0, pulled: 0, pending, last_error: undefined }
}

function opened(): { engine: MareaEngine; loop: SyncLoop } {
  if (!engine || !loop) throw new MareaError('closed', 'Marea is not open.', false)
  return { engine, loop }
}

type Handlers = { [M in Method]: (...args: Args<M>) => Answer<M> | Promise<Answer<M>> }

const handlers: Handlers = {
  open,
  recordSession(input) {
    const { engine, loop } = opened()
    const recorded = engine.recordSession(input)
    changed('progress', 'status')
    loop.poke()
    return recorded
  },
  progress: () => opened().engine.progress() as Progress,
  activity: (from, to) => opened().engine.activity(from, to) as ActivityDay[],
  status: () => opened().engine.status(),
  sync() {
    const { engine, loop } = opened()
    if (!loop.online) return offlineReport(engine)
    return loop.syncNow()
  },
  signal(name) {
    const { engine, loop } = opened()
    engine.signal(name)
    changed('status')
    loop.poke()
  },
  setOnline(online) {
    const { engine, loop } = opened()
    engine.signal(online ? 'online' : 'offline')
    changed('status')
    loop.setOnline(online)
  },
  close() {
    loop?.stop()
    engine?.close()
    engine = null
    loop = null
  },
}

async function answer(id: number, method: Method, args: unknown[]): Promise<void> {
  try {
    if (broken) throw broken
    const handler = handlers[method] as (...args: unknown[]) => unknown
    scope.postMessage({ kind: 'answer', id, value: await handler(...args) })
  } catch (error) {
    // After a trap the engine's memory cannot be trusted: nothing more is read from it or written with it.
    if (error instanceof WebAssembly.RuntimeError) {
      loop?.stop()
      broken = new MareaError('internal', toWire(error).message, false)
    }
    scope.postMessage({ kind: 'failure', id, error: toWire(error) })
  }
}

scope.addEventListener('message', ({ data }) => {
  if (data.kind === 'call') void answer(data.id, data.method, data.args)
  else tokensWanted.get(data.id)?.(data.token)
})
