// A tab's channels to all tabs of its user: to whoever leads, news for everybody, and its own mail.

import { leaderChannel, meetingName, newsChannel, tabChannel } from './protocol.js'
import type { News, Results, ToLeader } from './protocol.js'

export class Channels {
  readonly #toLeader: BroadcastChannel
  readonly #news: BroadcastChannel
  readonly #mail: BroadcastChannel

  constructor(userId: string, tab: string, hear: (news: News) => void, settle: (results: Results) => void) {
    const meeting = meetingName(userId)
    this.#toLeader = new BroadcastChannel(leaderChannel(meeting))
    this.#news = new BroadcastChannel(newsChannel(meeting))
    this.#mail = new BroadcastChannel(tabChannel(meeting, tab))
    this.#news.addEventListener('message', ({ data }: MessageEvent<News>) => hear(data))
    this.#mail.addEventListener('message', ({ data }: MessageEvent<Results>) => settle(data))
  }

  tellLeader(message: ToLeader): void {
    this.#toLeader.postMessage(message)
  }

  tellAll(news: News): void {
    this.#news.postMessage(news)
  }

  close(): void {
    for (const channel of [this.#toLeader, this.#news, this.#mail]) channel.close()
  }
}
