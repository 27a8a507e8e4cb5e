// Opens and makes envelopes, written from docs/VAULT.md, with nothing but WebCrypto. Runs in a page and in Node.

const utf8 = (text) => new TextEncoder().encode(text)

const b64 = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')

function unb64(text) {
  const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0))
  if (b64(bytes) !== text) throw new Error('key_damaged')
  return bytes
}

const aes = (key, use) => crypto.subtle.importKey('raw', key, 'AES-GCM', false, [use])

async function seal(key, about, plain) {
  const iv = crypto.getRandomValues(new Uint8Array(12))
  const algorithm = { name: 'AES-GCM', iv, additionalData: utf8(about) }
  const sealed = await crypto.subtle.encrypt(algorithm, await aes(key, 'encrypt'), plain)
  return new Uint8Array([...iv, ...new Uint8Array(sealed)])
}

async function unseal(key, about, sealed, otherwise) {
  const algorithm = { name: 'AES-GCM', iv: sealed.slice(0, 12), additionalData: utf8(about) }
  try {
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, await aes(key, 'decrypt'), sealed.slice(12)))
  } catch {
    throw new Error(otherwise)
  }
}

export async function derive(passphrase, salt, iterations) {
  const key = await crypto.subtle.importKey('raw', utf8(passphrase.normalize('NFKC')), 'PBKDF2', false, ['deriveBits'])
  return new Uint8Array(await crypto.subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt, iterations }, key, 256))
}

async function hkdf(secret, info) {
  const key = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits'])
  const algorithm = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info: utf8(info) }
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, 256))
}

async function check(dataKey, about, wrapped) {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', await hkdf(dataKey, 'marea1 check'), algorithm, false, ['sign'])
  const tag = await crypto.subtle.sign('HMAC', key, utf8(`${about} ${wrapped}`))
  return b64(new Uint8Array(tag).slice(0, 15))
}

async function checksum(user, provider, text) {
  const digest = await crypto.subtle.digest('SHA-256', utf8(`marea1 sum ${user} ${provider} ${text}`))
  return b64(new Uint8Array(digest).slice(0, 9))
}

export async function open(user, provider, envelope, passphrase) {
  const parts = envelope.split('.')
  const [version, keyId, kdf, made, salt, wrapped, written, , body, sum] = parts
  if (parts.length !== 10 || version !== 'marea1') throw new Error('key_damaged')
  if (sum !== (await checksum(user, provider, parts.slice(0, 9).join('.')))) throw new Error('key_damaged')
  const wrapping = await derive(passphrase, unb64(salt), Number(kdf.replace('pbkdf2-sha256-', '')))
  const about = `marea1 passphrase ${user} ${keyId} ${kdf} ${made} ${salt}`
  const dataKey = await unseal(wrapping, about, unb64(wrapped), 'wrong_passphrase')
  if (written !== (await check(dataKey, about, wrapped))) throw new Error('key_damaged')
  const plain = await unseal(dataKey, `marea1 key ${user} ${provider} ${keyId}`, unb64(body), 'key_damaged')
  return new TextDecoder().decode(plain)
}

export async function make(user, provider, key, passphrase, rounds, madeMs) {
  const random = (length) => crypto.getRandomValues(new Uint8Array(length))
  const [keyId, dataKey, salt] = [b64(random(12)), random(32), random(16)]
  const [kdf, made] = [`pbkdf2-sha256-${rounds}`, String(madeMs).padStart(13, '0')]
  const about = `marea1 passphrase ${user} ${keyId} ${kdf} ${made} ${b64(salt)}`
  const wrapped = b64(await seal(await derive(passphrase, salt, rounds), about, dataKey))
  const body = b64(await seal(dataKey, `marea1 key ${user} ${provider} ${keyId}`, utf8(key)))
  const parts = ['marea1', keyId, kdf, made, b64(salt), wrapped, await check(dataKey, about, wrapped), '0', body]
  const text = parts.join('.')
  return `${text}.${await checksum(user, provider, text)}`
}
