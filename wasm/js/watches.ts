// All that the listeners of one open mirror follow, by the topics under which it may change.

import type { Topic } from './protocol.js'
import { Watch } from './watch.js'
import type { ErrorListener, Listener } from './watch.js'

interface Watched {
  topics: Topic[]
  watch: { refresh(): void }
}

export class Watches {
  readonly #shared = new Map<string, Watched>()
  readonly #own = new Set<Watched>()

  /** Follows a value that all listeners of this name share: it is read once for all of them. */
  shared<T>(
    name: string,
    topics: Topic[],
    read: () => Promise<T>,
    listener: Listener<T>,
    onError?: ErrorListener,
  ): () => void {
    let watched = this.#shared.get(name)
    if (!watched) {
      watched = { topics, watch: new Watch(read) }
      this.#shared.set(name, watched)
    }
    return (watched.watch as Watch<T>).subscribe(listener, onError)
  }

  /** Follows a value that is this listener's alone. */
  own<T>(topics: Topic[], read: () => Promise<T>, listener: Listener<T>, onError?: ErrorListener): () => void {
    const watch = new Watch(read)
    const watched = { topics, watch }
    this.#own.add(watched)
    const stop = watch.subscribe(listener, onError)
    return () => {
      this.#own.delete(watched)
      stop()
    }
  }

  refresh(topics: Topic[]): void {
    for (const watched of [...this.#shared.values(), ...this.#own]) {
      if (watched.topics.some((topic) => topics.includes(topic))) watched.watch.refresh()
    }
  }
}
