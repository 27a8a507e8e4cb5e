// The arguments of every call, checked where they enter: each gives one copy that is plain JSON, or an error that names the
// field and says what was expected and what came.
//
// A copy, because what the caller changes after the call is no part of it, and because the reactive objects of Vue, Svelte
// and MobX are proxies, which no message carries. The tables below are typed by what they check: a field that is new, or
// gone, does not compile. Ranges and rules between fields are the engine's, the same on every platform.

import { boolean, byteCount, day, instant, integer, json, jsonObject, millis, oneOf, refusal } from './check-kinds.js'
import { readable, record, text, texts, unexpected, uuid } from './check-kinds.js'
import type { Check } from './check-kinds.js'
import { batchWrite, listQuery, parameters, rowKey, sqlText, tableChange, tableName, where } from './check-tables.js'
import { MareaError } from './errors.js'
import { isBlob } from './file-input.js'
import type { Args, FileChange, Method, NewFile } from './protocol.js'
import type { ApiProvider, EventInput, ExportChange, ExportInput, ExportKey, ExportQuery } from './types.js'
import type { BatchWrite, ExportStatus, PassphraseOptions, SessionInput, Write } from './types.js'

const session = record<SessionInput>(
  'a session',
  {
    id: uuid,
    session_type: text,
    started_at: instant,
    ended_at: instant,
    local_date: day,
    duration_minutes: integer,
    images_processed: integer,
    descriptions_generated: integer,
    qa_attempts: integer,
    qa_correct: integer,
    vocabulary_learned: integer,
    phrases_saved: integer,
    session_data: jsonObject,
  },
  { required: ['session_type'] },
)

const event = record<EventInput>('an award', {
  id: uuid,
  occurred_at: instant,
  local_date: day,
  descriptions: integer,
  images: integer,
  questions_answered: integer,
  questions_correct: integer,
  vocabulary_learned: integer,
  minutes: integer,
  points: integer,
  mastered_words: integer,
  learning_words: integer,
  new_words: integer,
  achievements: texts,
  freezes_day: boolean,
})

const exportInput = record<ExportInput>(
  'an export',
  { id: uuid, export_type: text, export_format: text, filters: jsonObject },
  { required: ['export_type', 'export_format'] },
)

const exportStatus = oneOf<ExportStatus>({ pending: 0, processing: 0, completed: 0, failed: 0, expired: 0 })

const exportChange = record<ExportChange>('a change', {
  status: exportStatus,
  records_count: integer,
  file_size_bytes: byteCount,
  file_url: text,
  data: json,
  error_message: text,
  retry_count: integer,
  started_at: instant,
  completed_at: instant,
  processing_time_seconds: integer,
  expires_at: instant,
})

const exportKey = record<ExportKey>(
  'a place',
  { created_at: instant, id: uuid },
  { required: ['created_at', 'id'], loose: true },
)

const exportQuery = record<ExportQuery>('a query', {
  status: exportStatus,
  export_type: text,
  after: exportKey,
  limit: integer,
})

const inputs = { record_session: session, record_event: event, create_export: exportInput }

/** A write takes the id that the caller gave, for calls that may come twice. */
const write: Check = (value) => {
  const given = value as Write
  const id = uuid(given.id, 'id')
  switch (given.kind) {
    case 'insert':
    case 'update':
    case 'add':
    case 'delete':
      return { ...tableChange(given, 'a change'), id }
    case 'batch':
      return batchWrite(given as BatchWrite)
    case 'update_export':
      return { kind: given.kind, id, export: uuid(given.export, 'id'), change: exportChange(given.change, '') }
    case 'delete_export':
      return { kind: given.kind, id, export: uuid(given.export, 'id') }
    default: {
      const input = inputs[given.kind](given.input, '') as { id?: string }
      return { kind: given.kind, id: input.id ?? id, input }
    }
  }
}

/** Each kind of passphrase work with what it needs, by the name that the call gives it. */
const passphrases: Record<string, Record<string, string>> = {
  set_up: { next: 'passphrase' },
  unlock: { current: 'passphrase' },
  rotate: { current: 'current' },
  change: { current: 'current', next: 'next' },
  rewrap: { current: 'current', next: 'next' },
  recover: { code: 'code', next: 'next' },
  recover_rewrap: { code: 'code', next: 'next' },
}

const passphraseWork: Check = (value) => {
  const given = value as Record<string, unknown>
  const needs = Object.entries(passphrases[String(given.kind)] ?? {})
  return { kind: given.kind, ...Object.fromEntries(needs.map(([field, name]) => [field, text(given[field], name)])) }
}

const provider = oneOf<ApiProvider>({ openai: 0, unsplash: 0, anthropic: 0 })

const quota: Check = (value, path) => {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value
  throw unexpected(path, 'a whole number of bytes', value)
}

const seconds: Check = (value, path) => {
  if ((integer(value, path) as number) > 0) return value
  throw refusal(path, `expected 1 or more, got ${String(value)}`)
}

const newFile = record<NewFile>(
  'a file',
  { id: uuid, input: (value) => exportInput(value, ''), extension: text, content_type: text, quota },
  { required: ['id', 'extension', 'content_type'] },
)

/** Handed on as it is: a copy of it in a message is the same bytes. */
const blob: Check = (value, path) => {
  if (!isBlob(value)) throw unexpected(path, 'a Blob', value)
  return value
}

/** For each call its arguments: what they are called, and what they must be. */
const table: { [M in Method]: [name: string, check: Check][] } = {
  write: [['', write]],
  progress: [],
  activity: [
    ['from', day],
    ['to', day],
  ],
  exports: [['', exportQuery]],
  export: [['id', uuid]],
  pending: [],
  rejected: [],
  queue: [
    ['limit', integer],
    ['known', (value) => json(value, 'known')],
  ],
  retry: [['id', uuid]],
  discard: [['id', uuid]],
  retryAll: [],
  discardAll: [],
  status: [],
  diagnostics: [],
  sync: [],
  signal: [['name', oneOf({ online: 0, offline: 0, visible: 0, new_token: 0 })]],
  setOnline: [['online', boolean]],
  lookAtStorage: [],
  useSchema: [['schema', (value) => (value === null ? null : text(value, 'schema'))]],
  catalogue: [],
  row: [
    ['table', tableName],
    ['key', rowKey],
  ],
  list: [
    ['table', tableName],
    ['', listQuery],
  ],
  count: [
    ['table', tableName],
    ['where', where],
  ],
  query: [
    ['sql', sqlText],
    ['parameters', parameters],
  ],
  keepFile: [
    ['', (value, path) => ({ input: null, quota: null, ...(newFile(value, path) as object) })],
    ['file', blob],
  ],
  files: [],
  changeFile: [
    ['id', uuid],
    ['what', oneOf<FileChange>({ pause: 0, resume: 0, retry: 0, cancel: 0 })],
  ],
  exportFile: [['id', uuid]],
  exportUrl: [
    ['id', uuid],
    ['expiresIn', seconds],
  ],
  dayStart: [['dayStartsAt', (value) => (value === null ? null : integer(value, 'dayStartsAt'))]],
  importOnce: [
    ['name', text],
    ['items', text],
  ],
  handOver: [['userId', uuid]],
  takeOver: [['handover', text]],
  handedOver: [['handover', text]],
  keysStatus: [],
  keysWork: [['', passphraseWork]],
  keysLock: [],
  keysGenerate: [],
  keysLockAfter: [['millis', millis]],
  keysPut: [
    ['provider', provider],
    ['key', text],
  ],
  keysOpen: [['provider', provider]],
  keysRemove: [['provider', provider]],
  keysValidated: [],
  keysRecoveryCode: [],
  keysRemember: [],
  keysUnlockRemembered: [],
  keysForget: [],
  keysReset: [],
}

/** The arguments of a call as plain data of its own. Throws `invalid_input`. */
export function checkArguments<M extends Method>(method: M, args: unknown[]): Args<M> {
  if (!Object.hasOwn(table, method)) {
    throw new MareaError('app_outdated', 'The tab that leads has an older version of this app; reload it there.', false)
  }
  const read = (): Args<M> => table[method].map(([name, check], index) => check(args[index], name)) as Args<M>
  return readable(method, read, 'its arguments could not be read')
}

/** The items of an import as JSON: data alone, whatever it says. */
export function importItems(items: unknown): string {
  return readable('items', () => {
    if (!Array.isArray(items)) throw unexpected('items', 'a list', items)
    return JSON.stringify(json(items, 'items'))
  })
}

const passphraseOptions = record<PassphraseOptions>('the options', { rewrapOnly: boolean })

/** Whether the data key is to stay. A word in the place of `false` must not leave it. */
export function checkRewrapOnly(options: unknown): boolean {
  return (passphraseOptions(options, '') as PassphraseOptions).rewrapOnly === true
}
