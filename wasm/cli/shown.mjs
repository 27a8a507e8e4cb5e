// Text on a terminal. What the server, a file or the environment brought must not steer it: control characters, and those that change
// the direction of a text, are written out. As `marea` does it.

const STEERS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g

export function shown(text) {
  return text.replace(STEERS, (letter) => `\\u{${letter.codePointAt(0).toString(16)}}`)
}
