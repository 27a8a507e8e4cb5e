// From a candidate to the leader: wait for the turn, open the mirror, serve, and make room for another.
//
// The same in a worker and in a page. How one's turn comes (`elect`) and what has to be there (`prepare`) is theirs.

import { MareaError, toWire } from './errors.js'
import type { WireError } from './errors.js'
import { Leader } from './leader.js'
import { MareaEngine } from './marea_wasm.js'
import { isNewer, leaderChannel, meetingName, newsChannel, TAB_CALLS, TAB_PROTOCOL } from './protocol.js'
import type { Refusals } from './policy.js'
import type { Candidacy, FromHost, News, Revision, ToLeader, ToHost, Version } from './protocol.js'

// The lock says that the last leader is gone; its file handles may take a moment longer, most of all a killed one's.
const HANDLES_WAIT_MS = 5_000
const HANDLES_RETRY_MS = 20
// After a failure that may pass, another tab is given its turn first.
const AGAIN_AFTER_MS = 500

export interface HostEnvironment {
  /** Makes the engine's module ready. Throws where this environment cannot carry a mirror. */
  prepare(): Promise<void>
  /** The engine has stopped, and with it all that runs in the same module. */
  stopped?(): void
  /** What the browser says that policies forbid here. */
  refusals: Refusals
  /** Resolves when it is this candidate's turn, with how to end it. */
  elect(meeting: string, signal: AbortSignal): Promise<() => void>
  /** Resolves when what the last leader wrote can be seen, with its revision. */
  arrived?(candidacy: Candidacy): Promise<Revision>
  toOwnPage(message: FromHost): void
  /** Whether the mirror's files are held as long as this environment is, if they cannot be closed before. */
  holdsFiles: boolean
}

export class LeaderCandidate {
  readonly #environment: HostEnvironment
  readonly #stopped = new AbortController()
  #candidacy: Candidacy | null = null
  #leader: Leader | null = null
  #release: () => void = () => {}
  #failed = false

  constructor(environment: HostEnvironment) {
    this.#environment = environment
  }

  receive(message: ToHost): void {
    if (message.kind === 'apply') void this.#apply((this.#candidacy = message.candidacy))
    else if (message.kind === 'online') this.#noteOnline(message.online)
    else if (message.kind === 'revision') this.#noteRevision(message.revision)
    else if (message.kind === 'joined') this.#noteJoined()
    else if (message.kind === 'leave') this.leave()
    else if (message.kind !== 'module') this.#leader?.receive(message, true)
  }

  /** Ends it, now, and lets others have the mirror. */
  leave(): void {
    this.#stopped.abort()
    const closed = this.#leader?.stop() ?? true
    this.#leader = null
    // A request that is under way still holds the engine: where there are files, the lock goes only with the worker then.
    // An image has an owner's name beside it, which keeps the old engine from writing.
    if (closed || !this.#environment.holdsFiles) this.#release()
    this.#environment.toOwnPage({ kind: 'left' })
  }

  /** The engine's module has stopped, whichever call it was in. */
  engineStopped(): void {
    const fault = new WebAssembly.RuntimeError()
    this.#leader?.stopped(fault)
    this.#trapped(toWire(fault))
  }

  /** What a policy forbids may be in the status. */
  refusalHeard(): void {
    this.#leader?.statusChanged()
  }

  #trapped(error: WireError): void {
    if (this.#failed || this.#stopped.signal.aborted) return
    this.#failed = true
    this.#environment.stopped?.()
    // After the answers, so that a call at which the engine stopped is known as such before the next leader gets it.
    setTimeout(() => this.#environment.toOwnPage({ kind: 'failed', error, final: true, stopped: true }))
  }

  #noteOnline(online: boolean): void {
    if (this.#candidacy) this.#candidacy.online = online
  }

  #noteRevision(revision: number): void {
    if (this.#candidacy) this.#candidacy.revision = revision
  }

  #noteJoined(): void {
    delete this.#candidacy?.schema
  }

  async #apply(candidacy: Candidacy): Promise<void> {
    try {
      await this.#environment.prepare()
    } catch (error) {
      return this.#fail(toWire(error), true)
    }
    const meeting = meetingName(candidacy.userId)
    const version: Version = { protocol: TAB_PROTOCOL, mirror: MareaEngine.mirrorVersion(), calls: TAB_CALLS }
    const introduction = introduce(meeting, version, this.#stopped.signal)
    while (!this.#stopped.signal.aborted) {
      try {
        this.#release = await this.#environment.elect(meeting, this.#stopped.signal)
        if (this.#stopped.signal.aborted) return this.#release()
        introduction.stop()
        await this.#lead(meeting, version, candidacy)
        return
      } catch (error) {
        if (this.#stopped.signal.aborted) return
        this.#leader?.stop()
        this.#leader = null
        this.#release()
        if (error instanceof WebAssembly.RuntimeError) return this.#trapped(toWire(error))
        const failure = toWire(error)
        this.#fail(failure, !failure.retry)
        if (!failure.retry) return
        await pause(AGAIN_AFTER_MS)
      }
    }
  }

  async #lead(meeting: string, version: Version, candidacy: Candidacy): Promise<void> {
    const leader = new Leader(meeting, version, candidacy.online, {
      toOwnPage: (message) => this.#environment.toOwnPage(message),
      superseded: () => this.leave(),
      trapped: (error) => this.#trapped(error),
    })
    this.#leader = leader
    this.#environment.toOwnPage({ kind: 'opening' })
    const opened = await this.#environment.arrived?.(candidacy)
    const engine = await openEngine(candidacy, leader)
    if (candidacy.schema !== undefined) engine.useCatalogue(candidacy.schema ?? undefined)
    if (candidacy.reason) engine.noteStorageReason(candidacy.reason.code, candidacy.reason.message)
    if (this.#stopped.signal.aborted) {
      engine.close()
      return this.#release()
    }
    leader.lead(engine, candidacy, this.#environment.refusals, opened)
  }

  #fail(error: WireError, final: boolean): void {
    this.#environment.toOwnPage({ kind: 'failed', error, final })
  }
}

async function openEngine(candidacy: Candidacy, leader: Leader): Promise<MareaEngine> {
  const { url, anonKey, userId, storage, known } = candidacy
  const deadline = performance.now() + HANDLES_WAIT_MS
  for (;;) {
    try {
      return await MareaEngine.open(url, anonKey, userId, storage, known, leader.wantToken, leader.tablesChanged)
    } catch (error) {
      if (toWire(error).code !== 'mirror_locked' || performance.now() >= deadline) throw error
      await pause(HANDLES_RETRY_MS)
    }
  }
}

/** Tells each leader what this build is: one of an older version makes room. */
function introduce(meeting: string, version: Version, signal: AbortSignal): { stop(): void } {
  const toLeader = new BroadcastChannel(leaderChannel(meeting))
  const news = new BroadcastChannel(newsChannel(meeting))
  const candidate: ToLeader = { kind: 'candidate', version }
  const stop = (): void => {
    toLeader.close()
    news.close()
  }
  news.addEventListener('message', ({ data }: MessageEvent<News>) => {
    if (data.kind === 'leading' && isNewer(version, data.version)) toLeader.postMessage(candidate)
  })
  signal.addEventListener('abort', stop)
  toLeader.postMessage(candidate)
  return { stop }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** The module has come and cannot be run. */
export function moduleError(): MareaError {
  const message = "marea_wasm_bg.wasm could not be started: it is another version's, or this device has too little memory."
  return new MareaError('worker_failed', message, true)
}
