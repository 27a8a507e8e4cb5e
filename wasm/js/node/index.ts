// `@marea/client/node`: the same face over the native engine, for Node, Bun and the main process of Electron.

export { open } from './open.js'
export type { NodeGuestOptions, NodeOptions } from './open.js'
export * from '../native/face.js'
