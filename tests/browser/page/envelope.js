// Opens and makes envelopes, written from docs/VAULT.md, with nothing but WebCrypto. Runs in a page and in Node. Both formats are
// opened, format 2 is made.

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

async function mac(secret, info, message) {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', await hkdf(secret, info), algorithm, false, ['sign'])
  const tag = await crypto.subtle.sign('HMAC', key, utf8(message))
  return b64(new Uint8Array(tag).slice(0, 15))
}

const check = (dataKey, about, wrapped) => mac(dataKey, 'marea1 check', `${about} ${wrapped}`)
const pastCheck = (dataKey, user, keyId, entries) =>
  mac(dataKey, 'marea2 past check', `marea2 past ${user} ${keyId} ${entries}`)

async function checksum(user, provider, text) {
  const version = text.slice(0, text.indexOf('.'))
  const digest = await crypto.subtle.digest('SHA-256', utf8(`${version} sum ${user} ${provider} ${text}`))
  return b64(new Uint8Array(digest).slice(0, 9))
}

const ROOMS = [256, 512, 1024]

function pad(key) {
  const plain = new Uint8Array(2 + ROOMS.find((room) => room >= key.length))
  plain.set([key.length >> 8, key.length & 255])
  plain.set(key, 2)
  return plain
}

function unpad(plain) {
  const length = plain[0] * 256 + plain[1]
  const zeros = plain.slice(2 + length)
  if (!ROOMS.includes(plain.length - 2) || length === 0 || zeros.some((byte) => byte !== 0)) throw new Error('key_damaged')
  return plain.slice(2, 2 + length)
}

export async function open(user, provider, envelope, passphrase) {
  const parts = envelope.split('.')
  const sum = parts.pop()
  if (sum !== (await checksum(user, provider, parts.join('.')))) throw new Error('key_damaged')
  const [version, keyId, kdf, made, salt, wrapped, written] = parts
  const isFirst = version === 'marea1' && parts.length === 9
  if (!isFirst && !(version === 'marea2' && parts.length === 11)) throw new Error('key_damaged')
  const wrapping = await derive(passphrase, unb64(salt), Number(kdf.replace('pbkdf2-sha256-', '')))
  const about = `marea1 passphrase ${user} ${keyId} ${kdf} ${made} ${salt}`
  const dataKey = await unseal(wrapping, about, unb64(wrapped), 'wrong_passphrase')
  if (written !== (await check(dataKey, about, wrapped))) throw new Error('key_damaged')
  if (isFirst) {
    const plain = await unseal(dataKey, `marea1 key ${user} ${provider} ${keyId}`, unb64(parts[8]), 'key_damaged')
    return new TextDecoder().decode(plain)
  }
  const [, , , , , , , , past, put, body] = parts
  if (past.slice(-20) !== (await pastCheck(dataKey, user, keyId, past.slice(0, -20)))) throw new Error('key_damaged')
  const plain = await unseal(dataKey, `marea2 key ${user} ${provider} ${keyId} ${put}`, unb64(body), 'key_damaged')
  return new TextDecoder().decode(unpad(plain))
}

export async function make(user, provider, key, passphrase, rounds, madeMs) {
  const random = (length) => crypto.getRandomValues(new Uint8Array(length))
  const [keyId, dataKey, salt] = [b64(random(12)), random(32), random(16)]
  const [kdf, made] = [`pbkdf2-sha256-${rounds}`, String(madeMs).padStart(13, '0')]
  const about = `marea1 passphrase ${user} ${keyId} ${kdf} ${made} ${b64(salt)}`
  const wrapped = b64(await seal(await derive(passphrase, salt, rounds), about, dataKey))
  const put = `${made}-0000`
  const body = b64(await seal(dataKey, `marea2 key ${user} ${provider} ${keyId} ${put}`, pad(utf8(key))))
  const header = [keyId, kdf, made, b64(salt), wrapped, await check(dataKey, about, wrapped), '0']
  const text = ['marea2', ...header, await pastCheck(dataKey, user, keyId, ''), put, body].join('.')
  return `${text}.${await checksum(user, provider, text)}`
}
