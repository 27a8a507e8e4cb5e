// The same loops for every store, in the page: what an app waits for is what is measured.

/** A session as every store gets it: the same fields, another id each time. */
export const session = () => ({
  id: crypto.randomUUID(),
  session_type: 'qa',
  ended_at: new Date().toISOString(),
  duration_minutes: 5,
  qa_attempts: 10,
  qa_correct: 8,
})

/** Puts the loops around a store: `write()` writes one session, `read()` answers with how many there are. */
export function measured(store) {
  return {
    ...store,
    /** Milliseconds for `count` writes, each after the one before has been acknowledged. */
    async oneAfterTheOther(count) {
      const start = performance.now()
      for (let written = 0; written < count; written++) await store.write()
      return performance.now() - start
    },
    /** Milliseconds for `count` writes that do not wait for each other. */
    async atOnce(count) {
      const start = performance.now()
      await Promise.all(Array.from({ length: count }, () => store.write()))
      return performance.now() - start
    },
    /** Milliseconds of each of `count` reads, sorted. */
    async reads(count) {
      const times = []
      for (let read = 0; read < count; read++) {
        const start = performance.now()
        await store.read()
        times.push(performance.now() - start)
      }
      return times.sort((one, other) => one - other)
    },
  }
}
