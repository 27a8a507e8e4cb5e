// The package's front door. Nothing happens on import.

export { open, Marea } from './marea.js'
export type { OpenOptions } from './marea.js'
export { MareaError } from './errors.js'
export type { MareaErrorCode } from './errors.js'
export type { ErrorListener, Listener } from './watch.js'
export type {
  ActivityDay,
  ClientStatus,
  Connection,
  Outcome,
  Progress,
  Recorded,
  SessionInput,
  Status,
  StatusError,
  Storage,
  SyncReport,
} from './types.js'
