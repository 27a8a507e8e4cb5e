// What every face over the native engine hands out, whatever carries its calls.

export { Marea } from '../marea.js'
export type { Queue, QueueOptions } from '../marea.js'
export { Keys } from '../keys.js'
export { MirroredTable } from '../table.js'
export type { Batch, BatchTable, Change } from '../batch.js'
export type {
  Add,
  AnyTable,
  AnyTables,
  Catalogue,
  CatalogueColumn,
  CatalogueTable,
  Comparison,
  Float,
  Insert,
  Json,
  ListQuery,
  QueryParameter,
  QueryRow,
  Register,
  RegisteredSchema,
  Row,
  TableName,
  TableTypes,
  TypesOf,
  Update,
  Where,
} from '../schema.js'
export type { ActivityRange } from '../activity.js'
export { localDay } from '../days.js'
export type { ErrorContext, ErrorReporter } from '../report.js'
export { MareaError } from '../errors.js'
export type { MareaErrorCode } from '../errors.js'
export type { ErrorListener, Listener } from '../watch.js'
export type {
  ActivityDay,
  ApiProvider,
  Claimed,
  ClientStatus,
  Connection,
  EventInput,
  Export,
  ExportChange,
  ExportInput,
  ExportKey,
  ExportPage,
  ExportQuery,
  ExportStatus,
  FilesStatus,
  FileState,
  FileView,
  Imported,
  ImportItem,
  KeyState,
  KeysStatus,
  KeyView,
  MutationView,
  Op,
  Outcome,
  PassphraseOptions,
  PassphraseOutcome,
  Progress,
  Recorded,
  Recovery,
  RefusedItem,
  Refusal,
  SessionInput,
  Status,
  StatusError,
  Storage,
  Surroundings,
  SyncLimits,
  SyncReport,
  Table,
  Unreadable,
  WakeUps,
} from '../types.js'
