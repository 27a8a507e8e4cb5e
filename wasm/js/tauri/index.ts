// `@marea/client/tauri`: the same face in a window of Tauri's, over the native engine of its app.

export { open } from './open.js'
export type { TauriCore, TauriGuestOptions, TauriOptions } from './open.js'
export * from '../native/face.js'
