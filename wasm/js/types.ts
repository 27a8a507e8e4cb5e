// The values of the engine as an app sees them: the types that are made from the Rust types, and nothing beside them.
//
// Rust's defaults, which are for reading what an older server sent, show as optional fields in the generated types.
// What the engine hands out always has all of them, and a session always has a type.

import type * as generated from './marea_wasm.js'

export type SessionInput = generated.SessionInput & Required<Pick<generated.SessionInput, 'session_type'>>
export type EventInput = Partial<generated.EventInput>
export type ExportInput = generated.ExportInput &
  Required<Pick<generated.ExportInput, 'export_type' | 'export_format'>>
export type Progress = Required<generated.Progress>
export type ActivityDay = Required<generated.ActivityDay>
export type Export = Required<generated.Export>
export type ExportPage = Omit<generated.ExportPage, 'exports'> & { exports: Export[] }
/** Where the mirror lives on this device; a `file` in Node. */
export type Storage = generated.StorageKind
export type ClientStatus = generated.ClientStatus & { storage: Storage; files: FilesStatus; wakeups: WakeUps }
/** Whether the server tells this device of other devices' changes. */
export type WakeUps = generated.WakeUps
/** The files of exports, all in all. `current` is the one about which a request is under way. */
export type FilesStatus = Required<Omit<generated.FilesStatus, 'current'>> & { current: FileView | undefined }
export type ApiProvider = generated.Provider
export type FileView = Required<Omit<generated.FileView, 'last_error'>> & Pick<generated.FileView, 'last_error'>
export type KeysStatus = generated.VaultStatus
export type Imported = generated.Imported
export type RefusedItem = generated.RefusedItem
export type Claimed = generated.Claimed

/** One thing that an app kept before it had Marea. A `key` makes it the same one on every device and in every call. */
export type ImportItem =
  /** A session says when it was: `ended_at`, `started_at` or `local_date`. */
  | { session: SessionInput; key?: string }
  /** An award says when it was: `occurred_at` or `local_date`. */
  | { event: EventInput; key?: string }
  /** A row of a mirrored table; `key` is the row's. */
  | { table: string; key: string; values: object }

export type Recorded = generated.Recorded & Required<Pick<generated.Recorded, 'key'>>
export type {
  Connection,
  ExportChange,
  ExportKey,
  ExportQuery,
  ExportStatus,
  FileState,
  KeyState,
  KeyView,
  MutationView,
  Op,
  Outcome,
  QueueView,
  PassphraseOutcome,
  Recovery,
  Refusal,
  Status,
  StatusError,
  Surroundings,
  SyncLimits,
  SyncReport,
  Table,
  Unreadable,
} from './marea_wasm.js'

/** One change of a mirrored table. */
export interface TableChange {
  kind: 'insert' | 'update' | 'add' | 'delete'
  /** The mutation's. */
  id: string
  table: string
  /** The row's. Null where the page does not know the table, which the engine then refuses. */
  key: string | null
  values: Record<string, unknown>
}

/** Changes that are done all or none. Their mutations' ids follow from the batch's. */
export interface BatchWrite {
  kind: 'batch'
  id: string
  changes: Omit<TableChange, 'id'>[]
}

/** One write, with the id of its mutation. */
export type Write = generated.Write | TableChange | BatchWrite

/** How the passphrase is changed. */
export interface PassphraseOptions {
  /**
   * Change the passphrase and nothing else: the recovery code and remembered devices go on opening the vault. So do the old
   * passphrase and an old envelope, together, also what is put later: not for a passphrase that somebody may know.
   */
  rewrapOnly?: boolean
}
