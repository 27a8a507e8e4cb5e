// Deletes the files of exports that are due, for a project without pg_net: asks Postgres which they are, deletes them by Storage's API, and
// tells Postgres. It needs expose.sql, Node 18 or newer, and nothing else. To be run every few minutes, by whatever runs programs on time:
//
//   MAREA_URL=https://project.supabase.co MAREA_SERVICE_KEY=... node delete-files.mjs
//
// It prints how many were due and deleted, and ends with 1 when something stood in its way: what is left stays due. As a Supabase Edge
// Function: edge-function.ts.

const BUCKET = 'marea-exports'
/** Of one run: it ends, however much there is. */
const MOST = 1000
/** Of one deletion; Storage takes 1,000. */
const BATCH = 100
const ATTEMPTS = 4
const TIMEOUT_MS = 30_000
const LONGEST_WAIT_MS = 10_000
/** An Edge Function is ended after 150 s. */
const LONGEST_RUN_MS = 100_000
/** `<user>/<export id>/<sha256>.<ending>`. Nothing else is deleted, whoever says so. */
const NAME = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\/[0-9a-f]{64}\.[a-z0-9]{1,10}$/

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * Deletes what is due, `{ due, deleted, error }`: `error` says what stood in the way, else it is null.
 * `url` is the project's, `key` its secret key (service_role), `firstWaitMs` the wait before a second attempt, doubled for each after it.
 */
export async function deleteFiles({ url, key, firstWaitMs = 500 }) {
  const said = { due: 0, deleted: 0, error: null }
  const until = Date.now() + LONGEST_RUN_MS
  const ask = (method, path, body) => askFor({ url, key, firstWaitMs, until }, method, path, body)
  try {
    const due = await ask('POST', '/rest/v1/rpc/marea_files_to_delete', { most: MOST })
    const strange = due.find((path) => typeof path !== 'string' || !NAME.test(path))
    if (strange !== undefined) throw new Error('marea_files_to_delete names what is no file of an export')
    said.due = due.length
    for (let at = 0; at < due.length; at += BATCH) {
      const paths = due.slice(at, at + BATCH)
      // It answers with those that were there. The others are as good as deleted: this key may see and delete all.
      await ask('DELETE', `/storage/v1/object/${BUCKET}`, { prefixes: paths })
      // Told too late, they are due once more, and not there then.
      said.deleted += await ask('POST', '/rest/v1/rpc/marea_files_deleted', { paths })
    }
  } catch (error) {
    said.error = error.message
  }
  return said
}

/** A call's JSON. What may pass is tried again, a few times. */
async function askFor({ url, key, firstWaitMs, until }, method, path, body) {
  for (let attempt = 1; ; attempt++) {
    const { problem, value, waitMs } = await once({ url, key }, method, path, body)
    if (!problem) return value
    const pause = Math.min(Math.max(waitMs ?? 0, firstWaitMs * 2 ** (attempt - 1)), LONGEST_WAIT_MS)
    if (waitMs === undefined || attempt === ATTEMPTS || Date.now() + pause > until) throw new Error(`${method} ${path}: ${problem}`)
    await wait(pause)
  }
}

/** One attempt. A problem with `waitMs` may pass. */
async function once({ url, key }, method, path, body) {
  let answer, text
  try {
    answer = await fetch(url.replace(/\/+$/, '') + path, {
      method,
      headers: { apikey: key, authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      // Followed, the key would go to a stranger.
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    text = await answer.text()
  } catch (error) {
    return { problem: error.cause?.code ?? error.name, waitMs: 0 }
  }
  const { status } = answer
  if (answer.ok) {
    const value = parsed(text)
    // Somebody on the way may answer too, with a page.
    return Array.isArray(value) || typeof value === 'number' ? { value } : { problem: `HTTP ${status} without the answer`, waitMs: 0 }
  }
  const mayPass = status >= 500 || status === 408 || status === 429
  return { problem: `HTTP ${status} ${parsed(text)?.code ?? ''}`.trim(), waitMs: mayPass ? 1000 * Number(answer.headers.get('retry-after')) || 0 : undefined }
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

if (globalThis.process?.argv[1]?.endsWith('delete-files.mjs')) {
  const { MAREA_URL: url, MAREA_SERVICE_KEY: key } = process.env
  if (!url || !key) throw new Error('MAREA_URL and MAREA_SERVICE_KEY are needed')
  const said = await deleteFiles({ url, key })
  console.log(JSON.stringify(said))
  process.exitCode = said.error ? 1 : 0
}
