// Waiting for a condition, with a bound, and an error that says what was seen last.

/** Calls `read` until `accept` takes its value, and returns it. */
export async function waitFor(what, read, accept, limitMs = 20_000) {
  const deadline = Date.now() + limitMs
  let seen
  for (;;) {
    seen = await read()
    if (accept(seen)) return seen
    if (Date.now() > deadline) throw new Error(`${what}: not within ${limitMs} ms; seen last: ${JSON.stringify(seen)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
