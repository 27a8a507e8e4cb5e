// The leader: has the engine, and serves all tabs. Runs in a worker, or in the page where there is no durable storage.
//
// Takes no decision about data. What it adds to the engine is who is served, and who is told of changes.

import { CallQueue } from './call-queue.js'
import type { Reply } from './call-queue.js'
import type { WireError } from './errors.js'
import type { LeaderContext } from './handlers.js'
import { makeName } from './ids.js'
import { FileBytes } from './files.js'
import { SyncLoop } from './loop.js'
import type { MareaEngine } from './marea_wasm.js'
import { BUILT_IN, EVERY_TABLE, isNewer, leaderChannel, newsChannel, SOME_TABLE, tabChannel, tableTopic } from './protocol.js'
import type { Refusals } from './policy.js'
import type { Calls, Candidacy, FromHost, Leading, News, Result, Results, Revision } from './protocol.js'
import type { ToLeader, Topic, Version } from './protocol.js'
import { noteStorage } from './surroundings.js'
import { Tokens } from './tokens.js'
import { Transfers } from './transfers.js'
import { WakeUps } from './wakeups.js'

// Of tabs that were closed without a word, some channels stay open; a site with this many tabs is rare.
const MAX_TAB_CHANNELS = 64

export interface LeaderEvents {
  toOwnPage(message: FromHost): void
  /** A newer version of the app asks for the mirror, or another tab has come to own it. */
  superseded(): void
  /** The engine met a fault that it cannot go on after. */
  trapped(error: WireError): void
}

export class Leader {
  readonly #meeting: string
  readonly #version: Version
  readonly #events: LeaderEvents
  readonly #term = makeName()
  readonly #tokens: Tokens
  readonly #inbox: BroadcastChannel
  readonly #news: BroadcastChannel
  readonly #tabs = new Map<string, { channel: BroadcastChannel; reply: Reply }>()
  readonly #replyToOwn: Reply
  #hasFollowers = false
  #told = new Set<Topic>()
  #queueChanges = 0
  #catalogueHash: string | undefined
  #opened: Revision
  #online: boolean
  #work: CallQueue | null = null
  #wakeups: WakeUps | null = null
  #context: LeaderContext | null = null

  constructor(meeting: string, version: Version, online: boolean, events: LeaderEvents) {
    this.#meeting = meeting
    this.#version = version
    this.#online = online
    this.#events = events
    this.#inbox = new BroadcastChannel(leaderChannel(meeting))
    this.#news = new BroadcastChannel(newsChannel(meeting))
    this.#tokens = new Tokens(
      (question) => events.toOwnPage(question),
      (question) => {
        this.#tell(question)
        return this.#hasFollowers
      },
    )
    this.#replyToOwn = (results) => events.toOwnPage(this.#answer(results))
  }

  /** For the engine, which asks before each request. */
  readonly wantToken = (fresh: boolean): Promise<string | null> => this.#tokens.get(fresh)

  /** For the engine: the server's answer changed what the app reads. */
  readonly tablesChanged = (tables: string[]): void => {
    this.#changed(...tables.flatMap((table) => BUILT_IN[table] ?? [tableTopic(table), SOME_TABLE]), 'queue', 'status')
    // The engine is still at work when it calls this.
    queueMicrotask(() => this.#lookAtCatalogue())
  }

  /** Begins to serve. */
  lead(engine: MareaEngine, candidacy: Candidacy, refusals: Refusals, opened: Revision): void {
    this.#opened = opened
    const { userId, url, anonKey } = candidacy
    const loop = new SyncLoop(
      engine,
      this.#online,
      () => {
        this.#changed('queue', 'status')
        // The server may have the row of a file now.
        transfers.poke()
        // What an answer says of wake-ups, and of what was heard meanwhile.
        this.#wakeups?.look()
      },
      (error) => this.#work?.noteTrap(error),
    )
    const bytes = new FileBytes(engine)
    const transfers = new Transfers(engine, bytes, { url, anonKey }, this.#online, {
      wantToken: this.wantToken,
      changed: (moved) => {
        if (moved) loop.poke()
        this.#changed('exports', 'files', 'queue', 'status')
      },
      failed: (error) => this.#work?.noteTrap(error),
    })
    const setOnline = (online: boolean): void => {
      this.#online = online
      engine.setOnline(online)
      loop.setOnline(online)
      transfers.setOnline(online)
      this.#wakeups?.look()
      this.#tell({ kind: 'online', online })
      this.#changed('status')
    }
    const changed = (...topics: Topic[]): void => this.#changed(...topics)
    const queueMark = (): string => `${this.#term} ${this.#queueChanges}`
    const wrote = (topics: Topic[]): void => this.#note(topics)
    const seen = (): void => this.#wakeups?.seen()
    this.#context = { engine, userId, url, refusals, loop, bytes, transfers, changed, setOnline, queueMark, wrote, seen }
    this.#work = new CallQueue(
      this.#context,
      (error) => this.#events.trapped(error),
      () => this.#events.superseded(),
    )
    engine.setOnline(this.#online)
    this.#inbox.addEventListener('message', ({ data }: MessageEvent<ToLeader>) => this.receive(data, false))
    this.#events.toOwnPage(this.#leading())
    this.#tell(this.#leading())
    if (candidacy.wakeups) this.#listen(engine, candidacy, loop)
    void loop.run()
    void transfers.run()
    void noteStorage(engine, () => this.#changed('status'))
  }

  #listen(engine: MareaEngine, candidacy: Candidacy, loop: SyncLoop): void {
    const looking = { kind: 'looking' } as const
    this.#wakeups = new WakeUps(engine, candidacy, {
      wantToken: this.wantToken,
      sync: () => loop.poke(),
      changed: () => this.#changed('status'),
      ask: () => {
        this.#events.toOwnPage(looking)
        this.#tell(looking)
      },
    })
    this.#wakeups.seen()
  }

  /** A message of its own page, or of another tab. */
  receive(message: ToLeader, own: boolean): void {
    switch (message.kind) {
      case 'hello':
        if (own) this.#events.toOwnPage(this.#leading())
        else this.#tell(this.#leading())
        this.#hasFollowers ||= !own
        return
      case 'calls':
        if (message.term === this.#term) this.#work?.take(message.calls, this.#replyTo(message, own))
        return
      case 'token':
        return this.#tokens.answered(message.id, message)
      case 'seen':
        return this.#wakeups?.seen()
      case 'candidate':
        if (isNewer(message.version, this.#version)) this.#events.superseded()
    }
  }

  /** The engine's module says that it has stopped. */
  stopped(fault: Error): void {
    this.#work?.noteTrap(fault)
  }

  /** What the browser says of the surroundings may have changed the status. */
  statusChanged(): void {
    if (this.#context) this.#changed('status')
  }

  /** Serves nobody any more, and closes the mirror. False when a request is under way: ending the worker then does it. */
  stop(): boolean {
    this.#context?.loop.stop()
    this.#context?.transfers.stop()
    this.#wakeups?.stop()
    this.#work?.stop()
    this.#inbox.close()
    this.#news.close()
    for (const { channel } of this.#tabs.values()) channel.close()
    const engine = this.#context?.engine
    this.#context = null
    // Nothing is asked any more of an engine that has stopped.
    if (this.#work?.stopped) return false
    try {
      return engine?.close() ?? true
    } catch {
      // What was acknowledged is durable. The files go with the worker then.
      return false
    }
  }

  #leading(): Leading {
    const [term, version, online, revision] = [this.#term, this.#version, this.#online, this.#revision()]
    return { kind: 'leading', term, version, online, revision, opened: this.#opened }
  }

  /** An answer may have brought another catalogue. */
  #lookAtCatalogue(): void {
    if (!this.#context || this.#work?.stopped) return
    const hash = this.#context.engine.catalogueHash()
    if (hash !== this.#catalogueHash) this.#changed(EVERY_TABLE)
    this.#catalogueHash = hash
  }

  #answer(results: Result[]): Results {
    return { kind: 'results', results, revision: this.#revision() }
  }

  #revision(): Revision {
    return this.#context?.engine.revision()
  }

  #replyTo({ tab }: Calls, own: boolean): Reply {
    if (own) return this.#replyToOwn
    const known = this.#tabs.get(tab)
    if (known) return known.reply
    const channel = new BroadcastChannel(tabChannel(this.#meeting, tab))
    const reply = (results: Result[]): void => channel.postMessage(this.#answer(results))
    this.#tabs.set(tab, { channel, reply })
    for (const [oldest, { channel }] of this.#tabs) {
      if (this.#tabs.size <= MAX_TAB_CHANNELS) break
      channel.close()
      this.#tabs.delete(oldest)
    }
    return reply
  }

  /** Tells all tabs, once for all that changes in one go. */
  #changed(...topics: Topic[]): void {
    if (topics.includes('queue')) this.#queueChanges++
    this.#note(topics)
  }

  #note(topics: Topic[]): void {
    if (this.#told.size === 0) queueMicrotask(() => this.#tellChanges())
    for (const topic of topics) this.#told.add(topic)
  }

  #tellChanges(): void {
    const topics = [...this.#told]
    this.#told = new Set()
    this.#tell({ kind: 'changed', topics, revision: this.#revision() })
  }

  #tell(news: News): void {
    // Closed with the leader: what is still under way then has nobody to tell.
    if (this.#context) this.#news.postMessage(news)
  }
}
