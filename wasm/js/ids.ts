// Ids that a tab makes by itself. Works without a secure context, where `crypto.randomUUID` is missing.

let lastMs = 0
let sequence = 0

/**
 * A UUIDv7 (RFC 9562, 5.7): made before a write is handed on, so that handing it on twice does it once. Those of one page and one
 * millisecond sort as they were made (6.2, method 1): an update of a row must not be taken up before its insert.
 */
export function makeWriteId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  const now = Date.now()
  sequence = now === lastMs ? sequence + 1 : 0
  lastMs = now
  // The first 48 bits are Unix milliseconds. A shift would cut them off at 32.
  for (let index = 0; index < 6; index++) bytes[index] = Math.floor(now / 2 ** (8 * (5 - index))) & 0xff
  bytes[6] = 0x70 | ((sequence >> 8) & 0x0f)
  bytes[7] = sequence & 0xff
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f)
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** A name for a tab or for a time of leading: new each time, never stored. */
export function makeName(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(3)), (part) => part.toString(36)).join('')
}

/** Whose the mirror is while nobody has signed in: no account's, on every device the same (`UserId::GUEST` of the engine). */
export const GUEST = '6d617265-6100-8067-8075-657374000000'
