// The values of the engine as an app sees them: the types that are made from the Rust types, and nothing beside them.
//
// Rust's defaults, which are for reading what an older server sent, show as optional fields in the generated types.
// What the engine hands out always has all of them, and a session always has a type.

import type * as generated from './marea_wasm.js'

export type SessionInput = generated.SessionInput & Required<Pick<generated.SessionInput, 'session_type'>>
export type Progress = Required<generated.Progress>
export type ActivityDay = Required<generated.ActivityDay>
export type {
  ClientStatus,
  Connection,
  Outcome,
  Recorded,
  Status,
  StatusError,
  Storage,
  SyncReport,
} from './marea_wasm.js'
