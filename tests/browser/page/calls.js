// What the tests call, in a page or in a program of Node's. It adds nothing to the package but a place to keep what was opened.

export function install(open) {
  // The test sets it: what `getAccessToken` answers with, how often it fails before, what it waits for, and how often it was
  // asked, and for a fresh one.
  window.tokens = { now: null, fresh: null, failures: 0, gate: null, asked: 0, askedFresh: 0 }

  window.openMarea = async (options) => {
    window.marea = await open({
      ...options,
      async getAccessToken(fresh) {
        window.tokens.asked++
        await window.tokens.gate
        if (window.tokens.failures-- > 0) throw new Error('the sign-in service is away')
        if (fresh) window.tokens.askedFresh++
        return fresh && window.tokens.fresh ? window.tokens.fresh : window.tokens.now
      },
    })
  }

  // An error cannot leave the page as it is; what an app would branch on can.
  window.failureOf = async (call) => {
    try {
      await call()
      return null
    } catch (error) {
      return { isError: error instanceof Error, name: error.name, code: error.code, retry: error.retry, message: error.message }
    }
  }

  window.ready = true
}
