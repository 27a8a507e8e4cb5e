// What the panel shows of a mirror, tab by tab. Each view is handed the open mirror, draws into its place, and says how it ends.

import { bytes, button, element, facts, table, time } from './dom.js'
import { follow } from '../marea.js'
import type { Marea } from '../marea.js'
import type { ClientStatus, FileView, MutationView, Queue } from '../index.js'

/** What a view works with. */
interface View {
  marea: Marea
  place: HTMLElement
  /** Says something that is not drawn, to a screen reader too. */
  say(text: string): void
}

type Draw = (view: View) => () => void

/** One entry of the journal in `diagnostics()`. */
interface Exchange {
  at_ms: number
  code: string
  message: string
  pushed: number
  rejected: number
  pulled: number
  bytes_sent: number
  bytes_received: number
}

const problem = (error: Error): HTMLElement => element('p', { class: 'bad' }, error.message)

/** Draws anew. What had the keyboard's focus is gone with that; what holds it all takes the focus, so that it is not lost. */
function show(place: HTMLElement, ...what: Node[]): void {
  const { activeElement } = place.getRootNode() as ShadowRoot
  const held = place.contains(activeElement)
  place.replaceChildren(...what)
  if (held) place.closest<HTMLElement>('[role=tabpanel]')?.focus()
}

const status: Draw = ({ marea, place }) => {
  const leads = element('span')
  const draw = (now: ClientStatus): void => {
    leads.textContent = marea.leads ? 'this tab' : 'another tab'
    const failure = now.last_error
    show(
      place,
      facts([
        ['Connection', now.paused ? 'switched off here' : now.connection],
        ['Last problem', failure ? element('span', { class: 'bad' }, `${failure.code}: ${failure.message}`) : 'none'],
        ['Next attempt', time(now.next_attempt_at)],
        ['Last synced', time(now.last_synced_at)],
        ['Waiting', String(now.pending)],
        ['Refused', String(now.rejected)],
        ['Leader', leads],
        ['Storage', now.storage],
        ['Sent, received', `${bytes(now.bytes_sent)}, ${bytes(now.bytes_received)}`],
        ['Version pulled', String(now.cursor ?? '–')],
        ['Mirror schema', String(now.mirror_version)],
        ['Not readable here', now.unreadable.length === 0 ? 'nothing' : JSON.stringify(now.unreadable)],
      ]),
    )
  }
  return marea.watchStatus(draw, (error) => show(place, problem(error)))
}

const queue: Draw = ({ marea, place, say }) => {
  const decide = (what: string, call: () => Promise<unknown>) => (): void =>
    void call().then(
      () => say(what),
      (error: Error) => say(error.message),
    )
  const change = (mutation: MutationView): HTMLElement =>
    element('details', {}, element('summary', {}, `${mutation.op} ${mutation.table}`), element('code', {}, JSON.stringify(mutation.values)))
  const draw = ({ pending_count, rejected_count, pending, rejected }: Queue): void => {
    const refused = rejected.map((mutation) => [
      change(mutation),
      element('span', { class: 'bad' }, `${mutation.refusal?.code ?? ''} ${mutation.refusal?.message ?? ''}`),
      time(mutation.recorded_at),
      element(
        'span',
        { class: 'actions' },
        button('Retry', decide('Queued again', () => marea.retry(mutation.id))),
        button('Discard', decide('Discarded', () => marea.discard(mutation.id))),
      ),
    ])
    const waiting = pending.map((mutation) => [change(mutation), element('code', {}, mutation.key), time(mutation.recorded_at)])
    const all =
      rejected_count > 1 &&
      element(
        'p',
        { class: 'actions' },
        button('Retry all', decide('All queued again', () => marea.retryAll())),
        button('Discard all', decide('All discarded', () => marea.discardAll())),
      )
    show(
      place,
      table(`Refused: ${rejected_count}`, ['Change', 'Reason', 'Recorded', 'Decide'], refused, 'Nothing was refused.'),
      ...(all ? [all] : []),
      table(`Waiting: ${pending_count}`, ['Change', 'Key', 'Recorded'], waiting, 'Nothing waits: the server has everything.'),
    )
  }
  return marea.watchQueue(draw, (error) => show(place, problem(error)), { limit: 50 })
}

const syncs: Draw = ({ marea, place }) => {
  const draw = async (): Promise<void> => {
    const { journal } = JSON.parse(await marea.diagnostics()) as { journal: Exchange[] }
    const rows = journal.reverse().map((entry) => [
      time(entry.at_ms),
      entry.code === 'ok' ? 'ok' : element('span', { class: 'bad', title: entry.message }, entry.code),
      String(entry.pushed),
      String(entry.rejected),
      String(entry.pulled),
      bytes(entry.bytes_sent),
      bytes(entry.bytes_received),
    ])
    const heads = ['Answered', 'Outcome', 'Pushed', 'Refused', 'Pulled', 'Sent', 'Received']
    show(place, table('Last exchanges with the server', heads, rows, 'No exchange yet.'))
  }
  const drawn = (): void => void draw().catch((error: Error) => show(place, problem(error)))
  return marea.watchStatus(drawn, (error) => show(place, problem(error)))
}

const BUILT_IN = ['user_progress', 'daily_activity', 'export_history']
const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

const tables: Draw = ({ marea, place, say }) => {
  const counts = element('div')
  const results = element('div')
  const sql = element('textarea', { 'aria-label': 'SQL: one SELECT, read only', spellcheck: 'false', rows: 3 })
  sql.value = 'SELECT * FROM user_progress'
  const draw = (rows: { name: string; count: number }[]): void => {
    const look = (name: string): HTMLElement =>
      button(name, () => {
        sql.value = `SELECT * FROM ${quoted(name)} LIMIT 50`
        void run()
      })
    show(counts, table('Tables on this device', ['Look into', 'Rows'], rows.map(({ name, count }) => [look(name), String(count)]), ''))
  }
  const failed = (error: Error): void => show(counts, problem(error))
  const run = async (): Promise<void> => {
    const begun = performance.now()
    try {
      const rows = await marea.query(sql.value)
      const took = `${rows.length} ${rows.length === 1 ? 'row' : 'rows'} in ${(performance.now() - begun).toFixed(1)} ms`
      const heads = Object.keys(rows[0] ?? {})
      const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))
      const cells = rows.slice(0, 200).map((row) => heads.map((head) => text((row as Record<string, unknown>)[head])))
      show(results, table(rows.length > 200 ? `${took}, the first 200` : took, heads, cells, `${took}.`))
      say(took)
    } catch (error) {
      show(results, problem(error as Error))
      say((error as Error).message)
    }
  }
  sql.addEventListener('keydown', (event) => event.key === 'Enter' && (event.ctrlKey || event.metaKey) && void run())
  const hint = element('span', { class: 'empty' }, 'Read only. Ctrl+Enter runs it.')
  show(place, sql, element('p', { class: 'actions' }, button('Run', () => void run()), hint), results, counts)
  let [stop, stopped, counted] = [(): void => undefined, false, '']
  const count = async (): Promise<void> => {
    const learned = (await marea.catalogue())?.tables.map(({ name }) => name) ?? []
    const counting = [...new Set([...BUILT_IN, ...learned])].map((name) => `SELECT '${name}' AS name, count(*) AS count FROM ${quoted(name)}`)
    const sql = counting.join(' UNION ALL ')
    if (stopped || sql === counted) return
    counted = sql
    stop()
    stop = marea.watchQuery(sql, [], draw, failed)
  }
  // Of no table: of what is known of all of them.
  const unfollow = marea[follow]('', count, failed)
  return () => {
    stopped = true
    unfollow()
    stop()
  }
}

const files: Draw = ({ marea, place, say }) => {
  const act = (label: string, call: () => Promise<void>): HTMLElement =>
    button(label, () => void call().catch((error: Error) => say(error.message)))
  const draw = (all: FileView[]): void => {
    const rows = all.map((file) => [
      element('code', {}, file.export_id),
      file.paused ? `${file.state}, held back` : file.state,
      element('progress', { max: Math.max(file.size, 1), value: file.sent, 'aria-label': 'Sent' }),
      `${bytes(file.sent)} of ${bytes(file.size)}`,
      file.last_error ? element('span', { class: 'bad' }, `${file.last_error.code}: ${file.last_error.message}`) : '',
      element(
        'span',
        { class: 'actions' },
        act(file.paused ? 'Go on' : 'Hold back', () => marea.pauseFile(file.export_id, !file.paused)),
        act('Retry', () => marea.retryFile(file.export_id)),
        act('Give up', () => marea.cancelFile(file.export_id)),
      ),
    ])
    show(place, table(`Files of exports: ${all.length}`, ['Export', 'State', 'Progress', 'Sent', 'Last problem', 'Decide'], rows, 'No file here.'))
  }
  return marea.watchFiles(draw, (error) => show(place, problem(error)))
}

/** The views by their names, in order. */
export const VIEWS: Record<string, Draw> = { Status: status, Queue: queue, Syncs: syncs, Tables: tables, Files: files }
