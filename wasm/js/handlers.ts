// The calls, each as one call of the engine. Writes are not here: they are collected and carried out together.

import { checkArguments } from './check.js'
import * as files from './file-calls.js'
import type { FileBytes } from './files.js'
import { serverRefused } from './policy.js'
import type { Refusals } from './policy.js'
import { noteStorage } from './surroundings.js'
import * as vault from './vault.js'
import type { SyncLoop } from './loop.js'
import type { MareaEngine } from './marea_wasm.js'
import { ALL_TOPICS } from './protocol.js'
import type { Answer, Args, Method, Topic } from './protocol.js'
import { answerQueue } from './queue.js'
import type { Transfers } from './transfers.js'
import type { ActivityDay, Claimed, ClientStatus, Export, ExportPage, Imported, Progress, StatusError, SyncReport } from './types.js'

/** What a handler works with. */
export interface LeaderContext {
  engine: MareaEngine
  userId: string
  /** Where the server is. */
  url: string
  /** What the page's policies have forbidden. */
  refusals: Refusals
  loop: SyncLoop
  /** The bytes of files, and what moves them. */
  bytes: FileBytes
  transfers: Transfers
  /** Another one whenever anything but a write has happened to the queue. */
  queueMark(): string
  /** The same, after writes: they have lengthened the queue and done nothing else to it. */
  wrote(topics: Topic[]): void
  /** Something can be read anew. */
  changed(...topics: Topic[]): void
  /** Somebody looks at a page. */
  seen(): void
  /** The app allows the network, or not. */
  setOnline(online: boolean): void
}

type Handlers = {
  [M in Exclude<Method, 'write'>]: (context: LeaderContext, ...args: Args<M>) => Answer<M> | Promise<Answer<M>>
}

const handlers: Handlers = {
  progress: ({ engine }) => engine.progress() as Progress,
  activity: ({ engine }, from, to) => engine.activity(from, to) as ActivityDay[],
  exports: ({ engine }, query) => engine.exports(query) as ExportPage,
  export: ({ engine }, id) => (engine.export(id) as Export | undefined) ?? null,
  pending: ({ engine }) => engine.pending(),
  rejected: ({ engine }) => engine.rejected(),
  queue: ({ engine, queueMark }, limit, known) => answerQueue(engine, queueMark(), limit, known),
  retry: (context, id) => settled(context, context.engine.retry(id)),
  discard: (context, id) => settled(context, context.engine.discard(id)),
  retryAll: (context) => settledAll(context, context.engine.retryAll()),
  discardAll: (context) => settledAll(context, context.engine.discardAll()),
  status: (context) => explained(context, context.engine.status() as ClientStatus),
  diagnostics: ({ engine }) => engine.diagnostics(),
  sync: async (context) => (context.loop.online ? explained(context, await context.loop.syncNow()) : offlineReport(context.engine)),
  signal({ engine, loop, transfers, changed, seen }, name) {
    engine.signal(name)
    if (name === 'visible') seen()
    changed('status')
    loop.poke()
    transfers.poke()
  },
  setOnline: ({ setOnline }, online) => setOnline(online),
  lookAtStorage: ({ engine, changed }) => noteStorage(engine, () => changed('status')),
  useSchema(context, schema) {
    const before = context.engine.catalogueHash()
    context.engine.useCatalogue(schema ?? undefined)
    if (context.engine.catalogueHash() === before) return
    context.changed(...ALL_TOPICS)
    context.loop.poke()
  },
  catalogue: ({ engine }) => engine.catalogue() ?? null,
  row: ({ engine }, table, key) => engine.getRow(table, key) ?? 'null',
  list: ({ engine }, table, query) => engine.listRows(table, JSON.stringify(query)),
  count: ({ engine }, table, where) => engine.countRows(table, JSON.stringify(where)),
  query: ({ engine }, sql, parameters) => engine.query(sql, parameters),
  keepFile: files.keepFile,
  files: files.files,
  changeFile: files.changeFile,
  exportFile: files.exportFile,
  exportUrl: files.exportUrl,
  dayStart(context, minutes) {
    const before = context.engine.dayStart()
    const now = context.engine.dayStart(minutes ?? undefined)
    if (now !== before) context.changed('progress', 'activity')
    return now
  },
  importOnce: (context, name, items) => broughtIn(context, JSON.parse(context.engine.importOnce(name, items)) as Imported),
  handOver: ({ engine }, userId) => engine.handOver(userId),
  takeOver: (context, handover) => broughtIn(context, JSON.parse(context.engine.takeOver(handover)) as Claimed),
  handedOver: (context, handover) => broughtIn(context, context.engine.handedOver(handover)),
  keysStatus: vault.status,
  keysWork: vault.work,
  keysLock: vault.lock,
  keysGenerate: vault.generate,
  keysLockAfter: vault.lockAfter,
  keysPut: vault.put,
  keysOpen: vault.open,
  keysRemove: vault.remove,
  keysValidated: vault.validated,
  keysRecoveryCode: vault.recoveryCode,
  keysRemember: vault.remember,
  keysUnlockRemembered: vault.unlockRemembered,
  keysForget: vault.forget,
  keysReset: vault.reset,
}

/** Carries out a call that is no write. Its tab may be of another version, so its arguments are checked here too. */
export function carryOut(context: LeaderContext, method: Exclude<Method, 'write'>, args: unknown[]): unknown {
  const checked = checkArguments(method, args)
  return (handlers[method] as (context: LeaderContext, ...args: unknown[]) => unknown)(context, ...checked)
}

/** Many writes at once, of any kind. */
function broughtIn<T>({ changed, loop }: LeaderContext, told: T): T {
  changed(...ALL_TOPICS)
  loop.poke()
  return told
}

/** A request that a policy forbids looks to the engine as if there were no network. */
function explained<T extends { last_error: StatusError | undefined }>({ url, refusals }: LeaderContext, told: T): T {
  const refused = told.last_error?.code === 'offline' && refusals.blocks(url)
  return refused ? { ...told, last_error: serverRefused(url) } : told
}

/** A refused mutation was queued again, or forgotten: what is shown may be another. */
function settled({ changed, loop }: LeaderContext, found: boolean): boolean {
  if (!found) return false
  changed(...ALL_TOPICS)
  loop.poke()
  return true
}

function settledAll(context: LeaderContext, count: number): number {
  settled(context, count > 0)
  return count
}

/** Not a failure: the answer of a sync that the app itself has forbidden. */
function offlineReport(engine: MareaEngine): SyncReport {
  const { pending } = engine.status()
  return { outcome: 'offline', pushed: 0, rejected: 0, pulled: 0, pending, last_error: undefined }
}
