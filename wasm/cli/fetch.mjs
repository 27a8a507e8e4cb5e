// Asks the server for its catalogue, and says in words that help what stands in the way.

import { Failure } from './failure.mjs'
import { checkCatalogue } from './document.mjs'

const LIMIT_MS = 30_000
// What never leaves this machine. A parsed address writes all spellings of 127.0.0.1 alike.
const LOOPBACK = /^(?:(?:.+\.)?localhost\.?|127\.\d+\.\d+\.\d+|\[::1\])$/
const EXAMPLE = 'an address like https://project.supabase.co'

export async function fetchCatalogue(url, key, allowHttp) {
  if (!url) throw new Failure(2, `say which server: --url (or MAREA_URL), ${EXAMPLE}`)
  if (!key) throw new Failure(2, "say which project: --key (or MAREA_KEY), the project's anon or publishable key")
  const address = addressOf(url, allowHttp)
  // What no HTTP header can hold: of a pasted key, most often the line break at its end.
  if (!/^[\x21-\x7e]+$/.test(key)) throw new Failure(2, '--key: expected a key without spaces and line breaks')
  const response = await ask(address, key)
  const body = await response.text().catch(() => '')
  if (!response.ok) throw refused(response, body, address)
  let document
  try {
    document = JSON.parse(body)
  } catch {
    throw new Failure(1, `${address.host} did not answer with JSON: it is another server, or a captive portal is in the way.`)
  }
  return checkCatalogue(document)
}

function addressOf(url, allowHttp) {
  const base = URL.canParse(url) ? new URL(url) : null
  if (!base || !/^https?:$/.test(base.protocol) || base.search || base.hash || base.username || base.password) {
    throw new Failure(2, `--url: expected ${EXAMPLE}`)
  }
  if (base.protocol === 'http:' && !allowHttp && !LOOPBACK.test(base.hostname)) {
    const why = 'lets everybody on the way change what is written into your app'
    throw new Failure(2, `--url: http:// to another machine ${why}; use https://, or --allow-http`)
  }
  if (/\/rest\/v1(\/|$)/.test(base.pathname)) {
    throw new Failure(2, '--url: expected the address before /rest/v1, which is added here')
  }
  return new URL(`${base.href.replace(/\/+$/, '')}/rest/v1/rpc/marea_catalogue`)
}

async function ask(address, key) {
  const headers = { apikey: key, 'content-type': 'application/json', accept: 'application/json' }
  const signal = AbortSignal.timeout(LIMIT_MS)
  try {
    return await fetch(address, { method: 'POST', headers, body: '{}', redirect: 'manual', signal })
  } catch (error) {
    const reason = error.name === 'TimeoutError' ? `no answer within ${LIMIT_MS / 1000} s` : (error.cause?.code ?? error.name)
    throw new Failure(3, `${address.host} cannot be reached (${reason}). Look at the network and at the spelling of --url.`)
  }
}

function refused(response, body, address) {
  const { status } = response
  const code = codeIn(body)
  if (code === 'PGRST202' || code === '42883') {
    const reload = "if they were run already, NOTIFY pgrst, 'reload schema'"
    return new Failure(1, `The server has no function marea_catalogue: run Marea's migrations; ${reload}.`)
  }
  if (code === '42501') {
    return new Failure(1, 'The role of this key may not call marea_catalogue (42501): run the migrations again, which grant it.')
  }
  if (status === 401 || status === 403) {
    return new Failure(1, `The server does not take the key (HTTP ${status}): --key has to be this project's anon or publishable key.`)
  }
  if (status >= 300 && status < 400) {
    const location = response.headers.get('location')
    const to = location && URL.canParse(location, address) ? new URL(location, address).origin : 'another address'
    return new Failure(1, `The server sends on to ${to}: give that as --url.`)
  }
  if (status === 404) return new Failure(1, `${address.origin} has no /rest/v1/rpc (HTTP 404). Look at --url.`)
  return new Failure(1, `The server answered HTTP ${status}${code ? ` (${code})` : ''}. Try again later.`)
}

function codeIn(body) {
  try {
    const { code } = JSON.parse(body)
    return typeof code === 'string' && /^\w{1,16}$/.test(code) ? code : null
  } catch {
    return null
  }
}
