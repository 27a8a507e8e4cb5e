// One tab's place among the tabs: it finds out who leads, sends its calls there, and sends again what a leader left
// unanswered when it went.
//
// Knows nothing of what the calls mean. A call that writes carries the id of its mutation, so that being sent to two
// leaders it is done once.

import { WaitingCalls } from './calls.js'
import { Channels } from './channels.js'
import { eraseMirror } from './erase.js'
import { erasedError, fromWire, MareaError, outdatedError, silentError, toWire } from './errors.js'
import { makeName } from './ids.js'
import { Joining } from './joining.js'
import { Journal } from './journal.js'
import { listenToPage } from './lifecycle.js'
import { Watchdog, Restarts, within } from './watchdog.js'
import { ALL_TOPICS, callsOf, meetingName, TAB_CALLS, TAB_PROTOCOL } from './protocol.js'
import type { Answer, Args, Call, Candidacy, FromHost, Leading, Method, News, Results, Revision } from './protocol.js'
import type { SignalName, TokenWanted, Topic } from './protocol.js'
import type { WorkerHost, HostEvents } from './worker-host.js'
import { askApp } from './tokens.js'

// How long a tab has no host after it made room for a newer version, when nobody takes the lead.
const VACANT_MS = 2_000
// How long after the last attempt a host is started again that could not be started, or could not lead.
const AGAIN_AFTER_MS = 5_000
// A worker that is asked to leave finishes what it is doing; one that does not answer is ended.
const LEAVE_LIMIT_MS = 1_000

export interface TabEvents {
  tokenWanted(fresh: boolean): Promise<string | null>
  changed(topics: Topic[]): void
}

export class Tab {
  readonly #name = makeName()
  readonly #candidacy: Candidacy
  readonly #startHost: (events: HostEvents) => WorkerHost
  readonly #events: TabEvents
  readonly #channels: Channels
  readonly #stopListening = new AbortController()
  readonly #journal: Journal
  readonly #waiting: WaitingCalls
  readonly #restarts = new Restarts()
  readonly #watchdog = new Watchdog({
    waits: () => this.#waiting.size > 0,
    asleep: () => this.#asleep,
    ask: () => {
      this.#tryAgain()
      this.#sayHello()
    },
    lost: () => this.#fault || this.#failed(silentError()),
  })
  #host: WorkerHost | null = null
  #leader: { term: string; own: boolean } | null = null
  /** The term of this tab's own host while it leads. Another one's news may come in between, where two have come to lead at once. */
  #ownTerm: string | null = null
  /** The terms of its hosts that have ended. A channel may bring their news later than that. */
  readonly #pastTerms = new Set<string>()
  #outbox: Call[] = []
  #asleep = false
  #fault: MareaError | null = null
  #ended: MareaError | null = null
  #joined: Joining | null = null
  #left: () => void = () => {}
  /** At which minute after midnight the learner's day begins. */
  dayStart = 0
  #settled: () => void = () => {}

  constructor(candidacy: Candidacy, startHost: (events: HostEvents) => WorkerHost, events: TabEvents) {
    this.#candidacy = candidacy
    this.#startHost = startHost
    this.#events = events
    const hear = (news: News): void => this.#hear(news)
    this.#journal = new Journal(meetingName(candidacy.userId), () => this.leads && this.#takeUp(), this.#stopListening.signal)
    this.#waiting = new WaitingCalls(this.#journal)
    this.#channels = new Channels(candidacy.userId, this.#name, hear, (results) => this.#settle(results))
    listenToPage(
      {
        leaving: (gone) => this.#journal.leave(this.#waiting.writes, gone),
        staying: () => this.#journal.stay(),
        asleep: () => this.#sleep(),
        awake: () => this.#wake(),
        visible: () => this.#looked(),
        // A streak and a week depend on today's date.
        newDay: () => this.#events.changed(['progress', 'activity']),
        dayStart: () => this.dayStart,
        network: (online) => this.#signal(online ? 'online' : 'offline'),
      },
      this.#stopListening.signal,
    )
  }

  /** Starts a host and waits until somebody leads, this tab or another. */
  async join(): Promise<void> {
    const joining = (this.#joined = new Joining())
    this.#enterElection()
    try {
      await joining.joined
      joining.end()
      this.#joined = null
      if (navigator.onLine === false) this.#signal('offline')
      await this.#useSchema()
    } catch (error) {
      joining.end()
      this.#joined = null
      this.#end(error as MareaError)
      throw error
    }
    this.#takeUp()
  }

  /** The tables are those of the tab that was opened last. What leads later finds them in the mirror, or goes on learning them. */
  async #useSchema(): Promise<void> {
    const { schema = null } = this.#candidacy
    // What is learned is there already, or comes later: nobody has to wait for that.
    if (schema === null) return void this.call('useSchema', null).catch(() => undefined)
    delete this.#candidacy.schema
    this.#host?.post({ kind: 'joined' })
    await this.call('useSchema', schema)
  }

  get leads(): boolean {
    return this.#leader?.own === true
  }

  get userId(): string {
    return this.#candidacy.userId
  }

  call<M extends Method>(method: M, ...args: Args<M>): Promise<Answer<M>> {
    this.#tryAgain()
    const reason = this.#ended ?? this.#fault
    if (reason) return Promise.reject(reason)
    return this.#waiting.add(method, args, (call) => {
      if (this.#outbox.length === 0) queueMicrotask(() => this.#flush())
      this.#outbox.push(call)
    })
  }

  /** Ends the host, in an orderly way if there is time. Writes that wait are still done; all later calls reject. */
  async leave(): Promise<void> {
    const host = this.#host
    if (host && !this.#ended) {
      this.#flush()
      await within(LEAVE_LIMIT_MS, (done) => this.#whenWritten(done))
      await within(LEAVE_LIMIT_MS, (done) => {
        this.#left = done
        host.post({ kind: 'leave' })
      })
    }
    this.#end(new MareaError('closed', 'Marea was closed; open it again.', false))
  }

  /** Ends this tab and all others of the user, and takes the mirror off the device. */
  async erase(): Promise<void> {
    if (this.#ended) throw this.#ended
    this.#channels.tellAll({ kind: 'erased' })
    this.#end(erasedError())
    await eraseMirror(this.#candidacy.userId)
  }

  #whenWritten(done: () => void): void {
    if (this.#waiting.writes.length === 0 || !this.#leader) return done()
    this.#settled = () => this.#whenWritten(done)
  }

  #enterElection(): void {
    try {
      this.#host ??= this.#startHost({
        receive: (message) => this.#receive(message),
        broken: (reason, stopped) => this.#hostBroken(reason, stopped),
        loading: () => this.#joined?.heard(),
      })
    } catch (error) {
      return this.#failed(fromWire(toWire(error)))
    }
    this.#host.post({ kind: 'apply', candidacy: this.#candidacy })
    this.#sayHello()
  }

  /** After a fault that may pass, a host is started again when somebody asks for something. */
  #tryAgain(): void {
    if (!this.#fault?.retry || this.#host || this.#asleep || this.#ended || !this.#restarts.begin(AGAIN_AFTER_MS)) return
    this.#fault = null
    this.#enterElection()
  }

  /** What pages before this one have left unanswered. One that was done all the same is not done again. */
  #takeUp(): void {
    for (const write of this.#journal.left()) {
      const forget = (): void => this.#journal.forget(write)
      this.call('write', write).then(forget, (error: MareaError) => error.code === 'invalid_input' && forget())
    }
  }

  #endHost(): void {
    this.#host?.end()
    this.#host = null
    if (this.#ownTerm) this.#pastTerms.add(this.#ownTerm)
    this.#ownTerm = null
    if (this.#leader?.own) this.#leader = null
  }

  #receive(message: FromHost): void {
    switch (message.kind) {
      case 'started':
        return this.#joined?.heard('waiting')
      case 'opening':
        return this.#joined?.heard('opening')
      case 'leading':
        this.#ownTerm = message.term
        return this.#follow(message)
      case 'results':
        return this.#settle(message)
      case 'token-wanted':
        return void this.#answerToken(message)
      case 'looking':
        if (isLookedAt()) this.#host?.post({ kind: 'seen' })
        return
      case 'failed':
        if (message.final) this.#endHost()
        if (message.stopped) return this.#restart(fromWire(message.error))
        return this.#failed(fromWire(message.error))
      case 'left':
        this.#left()
        return this.#vacate()
    }
  }

  #hear(news: News): void {
    if (this.#ended) return
    switch (news.kind) {
      case 'leading':
        return this.#pastTerms.has(news.term) ? undefined : this.#follow(news)
      case 'changed':
        this.#noteRevision(news.revision)
        return this.#events.changed(news.topics)
      case 'online':
        return this.#noteOnline(news.online)
      case 'erased':
        return this.#end(erasedError())
      case 'token-wanted':
        return void this.#helpWithToken(news)
      case 'looking':
        if (isLookedAt() && !this.#leader?.own) this.#channels.tellLeader({ kind: 'seen' })
    }
  }

  #follow({ term, version, online, revision, opened }: Leading): void {
    if (version.protocol > TAB_PROTOCOL) return this.#failed(outdatedError())
    // A leader of an older version makes room as soon as it hears of this tab's candidate.
    if (version.protocol < TAB_PROTOCOL || callsOf(version) < TAB_CALLS) return
    this.#watchdog.heard()
    this.#noteOnline(online)
    this.#noteRevision(revision)
    const own = term === this.#ownTerm
    if (this.#leader?.term === term) {
      this.#leader.own = own
      return
    }
    this.#leader = { term, own }
    this.#fault = null
    this.#joined?.resolve()
    if (!own) this.#sayHello()
    this.#outbox = []
    this.#waiting.askAgain(opened)
    this.#sendCalls(this.#waiting.all())
    // Nobody may have been looking before this tab came.
    if (!own && isLookedAt()) this.#signal('visible')
    // What the last leader had to tell may not have been heard.
    this.#events.changed(ALL_TOPICS)
  }

  /** The next leader goes on with what the app asked for last, in whichever tab. */
  #noteOnline(online: boolean): void {
    if (this.#candidacy.online === online) return
    this.#candidacy.online = online
    this.#host?.post({ kind: 'online', online })
  }

  /** What was acknowledged must be seen by whoever comes to lead next, if it is this tab. */
  #noteRevision(revision: Revision): void {
    if (revision === undefined || revision <= this.#candidacy.revision) return
    this.#candidacy.revision = revision
    this.#host?.post({ kind: 'revision', revision })
  }

  #flush(): void {
    const calls = this.#outbox
    this.#outbox = []
    this.#sendCalls(calls)
  }

  /** Without a leader they wait for the next one. */
  #sendCalls(calls: Call[]): void {
    if (calls.length > 0) this.#watchdog.begin()
    if (calls.length === 0 || !this.#leader) return
    const message = { kind: 'calls', tab: this.#name, term: this.#leader.term, calls } as const
    if (this.#leader.own) this.#host?.post(message)
    else this.#channels.tellLeader(message)
  }

  #sayHello(): void {
    this.#channels.tellLeader({ kind: 'hello', tab: this.#name })
  }

  #settle(answer: Results): void {
    this.#noteRevision(answer.revision)
    this.#waiting.settle(answer)
    this.#settled()
  }

  async #answerToken({ id, fresh }: TokenWanted): Promise<void> {
    const answer = await askApp(this.#events.tokenWanted, fresh)
    this.#host?.post({ kind: 'token', id, ...answer })
  }

  /** The leading tab has no token to give; this one may. */
  async #helpWithToken({ id, fresh }: TokenWanted): Promise<void> {
    if (this.#leader?.own) return
    const { token } = await askApp(this.#events.tokenWanted, fresh)
    if (token && !this.#ended) this.#channels.tellLeader({ kind: 'token', id, token })
  }

  #hostBroken(reason: MareaError, stopped: boolean): void {
    const led = this.#leader?.own === true
    this.#endHost()
    if (stopped) this.#restart(reason)
    else if (led || !this.#leader) this.#failed(reason)
  }

  /** The engine of this tab's host has stopped: another one opens the mirror again, and calls under way wait for it. */
  #restart(reason: MareaError): void {
    if (this.#asleep || this.#ended) return
    if (this.#restarts.begin()) this.#enterElection()
    else if (!this.#leader) this.#failed(reason)
  }

  /** Nobody can serve this tab now. Another tab that comes to lead still can. */
  #failed(reason: MareaError): void {
    if (this.#joined) return this.#joined.reject(reason)
    this.#leader = null
    this.#fault = reason
    if (reason.retry) this.#waiting.rejectReads(reason)
    else this.#rejectAll(reason)
    // Whoever follows a value is told that it cannot be read.
    this.#events.changed(ALL_TOPICS)
  }

  /** The host made room for another. This tab follows it, and later starts a host again, to be ready in its turn. */
  #vacate(): void {
    this.#endHost()
    if (!this.#ended) this.#sayHello()
    setTimeout(() => !this.#ended && !this.#asleep && !this.#host && this.#enterElection(), VACANT_MS)
  }

  #sleep(): void {
    this.#asleep = true
    this.#endHost()
    this.#leader = null
  }

  #wake(): void {
    if (!this.#asleep || this.#ended) return
    this.#asleep = false
    this.#enterElection()
  }

  #looked(): void {
    this.#tryAgain()
    this.#signal('visible')
    this.#events.changed(['status'])
  }

  #signal(name: SignalName): void {
    // Where nobody leads there is nobody to tell.
    if (this.#leader) void this.call('signal', name).catch(() => undefined)
  }

  #rejectAll(reason: MareaError): void {
    this.#waiting.rejectAll(reason)
    this.#outbox = []
  }

  #end(reason: MareaError): void {
    if (this.#ended) return
    this.#ended = reason
    this.#stopListening.abort()
    this.#watchdog.end()
    this.#endHost()
    this.#leader = null
    this.#channels.close()
    this.#rejectAll(reason)
  }
}

function isLookedAt(): boolean {
  return document.visibilityState === 'visible'
}
