// Puts PNGs of one size and kind behind each other: an animated PNG, as browsers show it. (PNG, third edition, section 11.3.4.)
//
// The compressed pixels are taken over as they are, so this is only a matter of chunks; libraries for it decode and encode anew.

import { crc32 } from 'node:zlib'

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  sum.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, sum])
}

function read(png) {
  const chunks = []
  for (let at = SIGNATURE.length; at < png.length; ) {
    const length = png.readUInt32BE(at)
    chunks.push({ type: png.toString('latin1', at + 4, at + 8), data: png.subarray(at + 8, at + 8 + length) })
    at += 12 + length
  }
  const header = chunks.find(({ type }) => type === 'IHDR').data
  return { header, pixels: Buffer.concat(chunks.filter(({ type }) => type === 'IDAT').map(({ data }) => data)) }
}

const number = (value) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** One animated PNG, played for ever, of `{ png, ms }`. */
export function animate(frames) {
  const images = frames.map(({ png, ms }) => ({ ...read(png), ms }))
  const [{ header }] = images
  if (images.some((image) => !image.header.equals(header))) throw new Error('the pictures differ in size or kind')
  const parts = [SIGNATURE, chunk('IHDR', header), chunk('acTL', Buffer.concat([number(images.length), number(0)]))]
  let sequence = 0
  images.forEach(({ pixels, ms }, index) => {
    const control = Buffer.alloc(26)
    control.writeUInt32BE(sequence++, 0)
    header.copy(control, 4, 0, 8)
    control.writeUInt16BE(ms, 20)
    control.writeUInt16BE(1000, 22)
    parts.push(chunk('fcTL', control))
    parts.push(index === 0 ? chunk('IDAT', pixels) : chunk('fdAT', Buffer.concat([number(sequence++), pixels])))
  })
  parts.push(chunk('IEND', Buffer.alloc(0)))
  return Buffer.concat(parts)
}
