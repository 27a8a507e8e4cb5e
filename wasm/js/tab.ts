// One tab's place among the tabs: it finds out who leads, sends its calls there, and sends again what a leader left
// unanswered when it went.
//
// Knows nothing of what the calls mean. A call that writes carries the id of its mutation, so that being sent to two
// leaders it is done once.

import { eraseMirror } from './erase.js'
import { fromWire, MareaError } from './errors.js'
import { makeName } from './ids.js'
import { listenToPage } from './lifecycle.js'
import {
  ALL_TOPICS,
  leaderChannel,
  meetingName,
  newsChannel,
  TAB_PROTOCOL,
  tabChannel,
} from './protocol.js'
import type {
  Answer,
  Args,
  Call,
  Candidacy,
  FromSeat,
  Leading,
  Method,
  News,
  Result,
  Results,
  SignalName,
  TokenWanted,
  ToLeader,
  Topic,
} from './protocol.js'
import type { Seat, SeatEvents } from './seat.js'

// A page that has this many calls waiting is in a loop of its own making; memory must not be what stops it.
const MAX_CALLS_IN_FLIGHT = 10_000
// A leader that opens a large mirror, or upgrades it, is silent meanwhile.
const JOIN_LIMIT_MS = 15_000
// How long a seat that was given up for a newer version stays empty when nobody takes the lead.
const VACANT_MS = 2_000
// A worker that is asked to leave finishes what it is doing; one that does not answer is ended.
const LEAVE_LIMIT_MS = 1_000

export interface TabEvents {
  tokenWanted(fresh: boolean): Promise<string | null>
  changed(topics: Topic[]): void
}

interface Waiting {
  call: Call
  resolve(value: unknown): void
  reject(error: MareaError): void
}

export class Tab {
  readonly #name = makeName()
  readonly #candidacy: Candidacy
  readonly #takeSeat: (events: SeatEvents) => Seat
  readonly #events: TabEvents
  readonly #toLeader: BroadcastChannel
  readonly #news: BroadcastChannel
  readonly #mail: BroadcastChannel
  readonly #stopListening = new AbortController()
  readonly #waiting = new Map<number, Waiting>()
  #seat: Seat | null = null
  #leader: { term: string; own: boolean } | null = null
  #outbox: Call[] = []
  #nextId = 1
  #asleep = false
  #fault: MareaError | null = null
  #ended: MareaError | null = null
  #joined: { resolve(): void; reject(error: MareaError): void } | null = null
  #left: () => void = () => {}
  #settled: () => void = () => {}

  constructor(candidacy: Candidacy, takeSeat: (events: SeatEvents) => Seat, events: TabEvents) {
    this.#candidacy = candidacy
    this.#takeSeat = takeSeat
    this.#events = events
    const meeting = meetingName(candidacy.userId)
    this.#toLeader = new BroadcastChannel(leaderChannel(meeting))
    this.#news = new BroadcastChannel(newsChannel(meeting))
    this.#mail = new BroadcastChannel(tabChannel(meeting, this.#name))
    this.#news.addEventListener('message', ({ data }: MessageEvent<News>) => this.#hear(data))
    this.#mail.addEventListener('message', ({ data }: MessageEvent<Results>) => this.#settle(data.results))
    listenToPage(
      {
        asleep: () => this.#sleep(),
        awake: () => this.#wake(),
        visible: () => this.#looked(),
        network: (online) => this.#signal(online ? 'online' : 'offline'),
      },
      this.#stopListening.signal,
    )
  }

  /** Takes a seat and waits until somebody leads, this tab or another. */
  async join(): Promise<void> {
    const joined = new Promise<void>((resolve, reject) => (this.#joined = { resolve, reject }))
    const timer = setTimeout(() => this.#joined?.reject(silentError()), JOIN_LIMIT_MS)
    this.#sitDown()
    try {
      await joined
    } catch (error) {
      this.#end(error as MareaError)
      throw error
    } finally {
      clearTimeout(timer)
      this.#joined = null
    }
    if (navigator.onLine === false) this.#signal('offline')
  }

  get leads(): boolean {
    return this.#leader?.own === true
  }

  call<M extends Method>(method: M, ...args: Args<M>): Promise<Answer<M>> {
    const reason = this.#ended ?? this.#fault
    if (reason) return Promise.reject(reason)
    if (this.#waiting.size >= MAX_CALLS_IN_FLIGHT) {
      const message = `${MAX_CALLS_IN_FLIGHT} calls are already waiting for an answer; await some of them first.`
      return Promise.reject(new MareaError('too_many_calls', message, true))
    }
    let call: Call
    try {
      // A copy: what the caller changes after the call is not part of it, however late it is sent.
      call = { id: this.#nextId++, method, args: structuredClone(args) }
    } catch {
      // Only a value that cannot be cloned (a function, a DOM node) makes cloning throw.
      const message = `The arguments of ${method} must be plain data.`
      return Promise.reject(new MareaError('invalid_input', message, false))
    }
    return new Promise<Answer<M>>((resolve, reject) => {
      this.#waiting.set(call.id, { call, resolve: (value) => resolve(value as Answer<M>), reject })
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
    this.#news.postMessage({ kind: 'erased' } satisfies News)
    this.#end(erasedError())
    await eraseMirror(this.#candidacy.userId)
  }

  #whenWritten(done: () => void): void {
    const writing = [...this.#waiting.values()].some((waiting) => waiting.call.method === 'write')
    if (!writing || !this.#leader) return done()
    this.#settled = () => this.#whenWritten(done)
  }

  #sitDown(): void {
    this.#seat ??= this.#takeSeat({
      receive: (message) => this.#receive(message),
      broken: (reason) => this.#seatBroken(reason),
    })
    this.#seat.post({ kind: 'apply', candidacy: this.#candidacy })
    this.#tellLeader({ kind: 'hello', tab: this.#name })
  }

  #standUp(): void {
    this.#seat?.end()
    this.#seat = null
    if (this.#leader?.own) this.#leader = null
  }

  #receive(message: FromSeat): void {
    switch (message.kind) {
      case 'leading':
        return this.#follow(message, true)
      case 'results':
        return this.#settle(message.results)
      case 'token-wanted':
        return void this.#answerToken(message)
      case 'failed':
        if (message.final) this.#standUp()
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
        return this.#follow(news, false)
      case 'changed':
        return this.#events.changed(news.topics)
      case 'online':
        return this.#noteOnline(news.online)
      case 'erased':
        return this.#end(erasedError())
      case 'token-wanted':
        return void this.#helpWithToken(news)
    }
  }

  #follow({ term, version, online }: Leading, own: boolean): void {
    // A leader of an older version makes room as soon as it hears of this tab's seat.
    if (version.protocol < TAB_PROTOCOL) return
    if (version.protocol > TAB_PROTOCOL) return this.#failed(outdatedError())
    this.#noteOnline(online)
    if (this.#leader?.term === term) {
      this.#leader.own ||= own
      return
    }
    this.#leader = { term, own }
    this.#fault = null
    this.#joined?.resolve()
    if (!own) this.#tellLeader({ kind: 'hello', tab: this.#name })
    this.#outbox = []
    this.#sendCalls([...this.#waiting.values()].map((waiting) => waiting.call))
    // What the last leader had to tell may not have been heard.
    this.#events.changed(ALL_TOPICS)
  }

  /** Whoever comes to lead goes on with what the app wished last, in whichever tab. */
  #noteOnline(online: boolean): void {
    if (this.#candidacy.online === online) return
    this.#candidacy.online = online
    this.#seat?.post({ kind: 'online', online })
  }

  #flush(): void {
    const calls = this.#outbox
    this.#outbox = []
    this.#sendCalls(calls)
  }

  /** Without a leader they wait for the next one. */
  #sendCalls(calls: Call[]): void {
    if (calls.length === 0 || !this.#leader) return
    const message = { kind: 'calls', tab: this.#name, term: this.#leader.term, calls } as const
    if (this.#leader.own) this.#seat?.post(message)
    else this.#tellLeader(message)
  }

  #tellLeader(message: ToLeader): void {
    this.#toLeader.postMessage(message)
  }

  #settle(results: Result[]): void {
    for (const result of results) {
      const waiting = this.#waiting.get(result.id)
      this.#waiting.delete(result.id)
      if ('error' in result) waiting?.reject(fromWire(result.error))
      else waiting?.resolve(result.value)
    }
    this.#settled()
  }

  async #token(fresh: boolean): Promise<string | null> {
    try {
      const token = await this.#events.tokenWanted(fresh)
      return typeof token === 'string' && token !== '' ? token : null
    } catch {
      // The app has no token now (offline, signed out). Why is its own affair; the engine asks again later.
      return null
    }
  }

  async #answerToken({ id, fresh }: TokenWanted): Promise<void> {
    const token = await this.#token(fresh)
    this.#seat?.post({ kind: 'token', id, token })
  }

  /** The leading tab has no token to give; this one may. */
  async #helpWithToken({ id, fresh }: TokenWanted): Promise<void> {
    if (this.#leader?.own) return
    const token = await this.#token(fresh)
    if (token && !this.#ended) this.#tellLeader({ kind: 'token', id, token })
  }

  #seatBroken(reason: MareaError): void {
    const led = this.#leader?.own === true
    this.#seat = null
    if (led) this.#leader = null
    if (led || !this.#leader) this.#failed(reason)
  }

  /** Nobody can serve this tab now. Another tab that comes to lead still can. */
  #failed(reason: MareaError): void {
    if (this.#joined) return this.#joined.reject(reason)
    this.#leader = null
    this.#fault = reason
    this.#rejectAll(reason)
  }

  /** The seat made room for a newer version. Somebody has to be ready again, but after the newer one. */
  #vacate(): void {
    this.#standUp()
    setTimeout(() => !this.#ended && !this.#asleep && !this.#seat && this.#sitDown(), VACANT_MS)
  }

  #sleep(): void {
    this.#asleep = true
    this.#leader = null
    this.#seat?.end()
    this.#seat = null
  }

  #wake(): void {
    if (!this.#asleep || this.#ended) return
    this.#asleep = false
    this.#sitDown()
  }

  #looked(): void {
    this.#signal('visible')
    // A streak depends on today's date, which may have changed since the page was last looked at.
    this.#events.changed(['progress', 'status'])
  }

  #signal(name: SignalName): void {
    // Where nobody leads there is nobody to tell.
    if (this.#leader) void this.call('signal', name).catch(() => undefined)
  }

  #rejectAll(reason: MareaError): void {
    for (const waiting of this.#waiting.values()) waiting.reject(reason)
    this.#waiting.clear()
    this.#outbox = []
  }

  #end(reason: MareaError): void {
    if (this.#ended) return
    this.#ended = reason
    this.#stopListening.abort()
    this.#standUp()
    this.#leader = null
    for (const channel of [this.#toLeader, this.#news, this.#mail]) channel.close()
    this.#rejectAll(reason)
  }
}

/** Waits for something that ought to come soon. */
function within(limitMs: number, begin: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, limitMs)
    begin(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}

function silentError(): MareaError {
  const message =
    "Another tab or window has this user's mirror open and does not answer: its page may be frozen or stopped by a " +
    'debugger. Close it, or go on there.'
  return new MareaError('mirror_locked', message, true)
}

function erasedError(): MareaError {
  return new MareaError('closed', "This user's mirror was erased from this device; open it again to begin anew.", false)
}

function outdatedError(): MareaError {
  const message = 'A newer version of this app is open in another tab. Reload this page to go on; nothing is lost.'
  return new MareaError('app_outdated', message, false)
}
