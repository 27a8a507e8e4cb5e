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
import { Patience, Restarts, within } from './patience.js'
import { ALL_TOPICS, meetingName, TAB_PROTOCOL } from './protocol.js'
import type { Answer, Args, Call, Candidacy, FromSeat, Leading, Method, News, Results, Revision } from './protocol.js'
import type { SignalName, TokenWanted, Topic } from './protocol.js'
import type { Seat, SeatEvents } from './seat.js'
import { askApp } from './tokens.js'

// How long a seat that was given up for a newer version stays empty when nobody takes the lead.
const VACANT_MS = 2_000
// How long after the last one a seat is taken again that could not be taken, or not be led from.
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
  readonly #takeSeat: (events: SeatEvents) => Seat
  readonly #events: TabEvents
  readonly #channels: Channels
  readonly #stopListening = new AbortController()
  readonly #journal: Journal
  readonly #waiting: WaitingCalls
  readonly #restarts = new Restarts()
  readonly #patience = new Patience({
    waits: () => this.#waiting.size > 0,
    asleep: () => this.#asleep,
    ask: () => {
      this.#tryAgain()
      this.#sayHello()
    },
    lost: () => this.#fault || this.#failed(silentError()),
  })
  #seat: Seat | null = null
  #leader: { term: string; own: boolean } | null = null
  /** What this tab's own seat leads under. Another one's news may come in between, where two have come to lead at once. */
  #ownTerm: string | null = null
  #outbox: Call[] = []
  #asleep = false
  #fault: MareaError | null = null
  #ended: MareaError | null = null
  #joined: Joining | null = null
  #left: () => void = () => {}
  #settled: () => void = () => {}

  constructor(candidacy: Candidacy, takeSeat: (events: SeatEvents) => Seat, events: TabEvents) {
    this.#candidacy = candidacy
    this.#takeSeat = takeSeat
    this.#events = events
    const hear = (news: News): void => this.#hear(news)
    this.#journal = new Journal(meetingName(candidacy.userId), () => this.leads && this.#takeUp(), this.#stopListening.signal)
    this.#waiting = new WaitingCalls(this.#journal)
    this.#channels = new Channels(candidacy.userId, this.#name, hear, (results) => this.#settle(results))
    listenToPage(
      {
        leaving: () => this.#journal.leave(this.#waiting.writes),
        staying: () => this.#journal.stay(),
        asleep: () => this.#sleep(),
        awake: () => this.#wake(),
        visible: () => this.#looked(),
        // A streak and a week depend on today's date.
        newDay: () => this.#events.changed(['progress', 'activity']),
        network: (online) => this.#signal(online ? 'online' : 'offline'),
      },
      this.#stopListening.signal,
    )
  }

  /** Takes a seat and waits until somebody leads, this tab or another. */
  async join(): Promise<void> {
    const joining = (this.#joined = new Joining())
    this.#sitDown()
    try {
      await joining.joined
    } catch (error) {
      this.#end(error as MareaError)
      throw error
    } finally {
      joining.end()
      this.#joined = null
    }
    if (navigator.onLine === false) this.#signal('offline')
    this.#takeUp()
  }

  get leads(): boolean {
    return this.#leader?.own === true
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

  /** Gives up the seat, in an orderly way if there is time. Writes that wait are still done; all later calls reject. */
  async leave(): Promise<void> {
    const seat = this.#seat
    if (seat && !this.#ended) {
      this.#flush()
      await within(LEAVE_LIMIT_MS, (done) => this.#whenWritten(done))
      await within(LEAVE_LIMIT_MS, (done) => {
        this.#left = done
        seat.post({ kind: 'leave' })
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

  #sitDown(): void {
    try {
      this.#seat ??= this.#takeSeat({
        receive: (message) => this.#receive(message),
        broken: (reason, stopped) => this.#seatBroken(reason, stopped),
        loading: () => this.#joined?.heard(),
      })
    } catch (error) {
      return this.#failed(fromWire(toWire(error)))
    }
    this.#seat.post({ kind: 'apply', candidacy: this.#candidacy })
    this.#sayHello()
  }

  /** After a fault that may pass, a seat is taken again when somebody asks for something. */
  #tryAgain(): void {
    if (!this.#fault?.retry || this.#seat || this.#asleep || this.#ended || !this.#restarts.begin(AGAIN_AFTER_MS)) return
    this.#fault = null
    this.#sitDown()
  }

  /** What pages before this one have left unanswered. One that was done all the same is not done again. */
  #takeUp(): void {
    for (const write of this.#journal.left()) {
      const forget = (): void => this.#journal.forget(write)
      this.call('write', write).then(forget, (error: MareaError) => error.code === 'invalid_input' && forget())
    }
  }

  #standUp(): void {
    this.#seat?.end()
    this.#seat = null
    this.#ownTerm = null
    if (this.#leader?.own) this.#leader = null
  }

  #receive(message: FromSeat): void {
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
      case 'failed':
        if (message.final) this.#standUp()
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
        return this.#follow(news)
      case 'changed':
        this.#noteRevision(news.revision)
        return this.#events.changed(news.topics)
      case 'online':
        return this.#noteOnline(news.online)
      case 'erased':
        return this.#end(erasedError())
      case 'token-wanted':
        return void this.#helpWithToken(news)
    }
  }

  #follow({ term, version, online, revision, opened }: Leading): void {
    // A leader of an older version makes room as soon as it hears of this tab's seat.
    if (version.protocol < TAB_PROTOCOL) return
    if (version.protocol > TAB_PROTOCOL) return this.#failed(outdatedError())
    this.#patience.heard()
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
    // What the last leader had to tell may not have been heard.
    this.#events.changed(ALL_TOPICS)
  }

  /** Whoever comes to lead goes on with what the app wished last, in whichever tab. */
  #noteOnline(online: boolean): void {
    if (this.#candidacy.online === online) return
    this.#candidacy.online = online
    this.#seat?.post({ kind: 'online', online })
  }

  /** What was acknowledged must be seen by whoever comes to lead next, if it is this tab. */
  #noteRevision(revision: Revision): void {
    if (revision === undefined || revision <= this.#candidacy.revision) return
    this.#candidacy.revision = revision
    this.#seat?.post({ kind: 'revision', revision })
  }

  #flush(): void {
    const calls = this.#outbox
    this.#outbox = []
    this.#sendCalls(calls)
  }

  /** Without a leader they wait for the next one. */
  #sendCalls(calls: Call[]): void {
    if (calls.length > 0) this.#patience.begin()
    if (calls.length === 0 || !this.#leader) return
    const message = { kind: 'calls', tab: this.#name, term: this.#leader.term, calls } as const
    if (this.#leader.own) this.#seat?.post(message)
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
    this.#seat?.post({ kind: 'token', id, ...answer })
  }

  /** The leading tab has no token to give; this one may. */
  async #helpWithToken({ id, fresh }: TokenWanted): Promise<void> {
    if (this.#leader?.own) return
    const { token } = await askApp(this.#events.tokenWanted, fresh)
    if (token && !this.#ended) this.#channels.tellLeader({ kind: 'token', id, token })
  }

  #seatBroken(reason: MareaError, stopped: boolean): void {
    const led = this.#leader?.own === true
    this.#standUp()
    if (stopped) this.#restart(reason)
    else if (led || !this.#leader) this.#failed(reason)
  }

  /** The engine of this tab's seat has stopped: another one opens the mirror again, and calls under way wait for it. */
  #restart(reason: MareaError): void {
    if (this.#asleep || this.#ended) return
    if (this.#restarts.begin()) this.#sitDown()
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

  /** The seat made room for another. This tab follows it, and has to be ready again, but after the other one. */
  #vacate(): void {
    this.#standUp()
    if (!this.#ended) this.#sayHello()
    setTimeout(() => !this.#ended && !this.#asleep && !this.#seat && this.#sitDown(), VACANT_MS)
  }

  #sleep(): void {
    this.#asleep = true
    this.#standUp()
    this.#leader = null
  }

  #wake(): void {
    if (!this.#asleep || this.#ended) return
    this.#asleep = false
    this.#sitDown()
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
    this.#patience.end()
    this.#standUp()
    this.#leader = null
    this.#channels.close()
    this.#rejectAll(reason)
  }
}
