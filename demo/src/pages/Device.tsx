// What this device keeps, what waits to be sent, and what the server refused.

import type { ClientStatus, MutationView } from '@marea/client'
import { useQueue, useSyncStatus } from '@marea/client/react'
import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { Empty } from '../parts/Empty'
import { Icon } from '../parts/Icon'
import { syncStateOf } from '../status'

export function Device() {
  const { t } = useSpeech()
  const { marea, airplane, session, tell } = useLearner()
  const { data: status } = useSyncStatus()
  const { data: queue } = useQueue({ limit: 50 })
  const state = syncStateOf(t, status, airplane, session)
  const failed = (error: Error): void => tell(error.message)
  return (
    <div className="page">
      <h1>{t.device.title}</h1>
      <p className="lead">{state.text}</p>
      {status && <Facts status={status} />}
      <div className="buttons">
        <button type="button" className="button primary" disabled={airplane} onClick={() => void marea.sync().catch(failed)} data-testid="sync-now">
          <Icon name="sync" />
          {t.device.syncNow}
        </button>
        <button
          type="button"
          className="button"
          onClick={() => void marea.diagnostics().then((text) => navigator.clipboard.writeText(text)).then(() => tell(t.device.copied), failed)}
        >
          {t.device.diagnostics}
        </button>
        {/* Loaded when it is asked for: nobody else pays for it. */}
        <button type="button" className="button" onClick={() => void import('@marea/client/devtools').then(({ mountDevtools }) => mountDevtools(marea, { open: true }), failed)} data-testid="tools">
          {t.device.tools}
        </button>
      </div>
      {queue && queue.rejected.length > 0 && (
        <section aria-labelledby="refused-title">
          <h2 id="refused-title">{t.device.refused}</h2>
          <ul className="rows">
            {queue.rejected.map((mutation) => (
              <li key={mutation.id} className="row" data-testid="refused">
                <span className="row-main">
                  <What mutation={mutation} />
                  <span className="problem">{mutation.refusal?.message}</span>
                </span>
                <span className="row-buttons">
                  <button type="button" className="button small" onClick={() => void marea.retry(mutation.id).catch(failed)}>
                    {t.device.retry}
                  </button>
                  <button type="button" className="button small danger" onClick={() => void marea.discard(mutation.id).catch(failed)}>
                    {t.device.discard}
                  </button>
                </span>
              </li>
            ))}
          </ul>
        </section>
      )}
      <section aria-labelledby="queue-title">
        <h2 id="queue-title">{t.device.queue}</h2>
        {queue?.pending.length === 0 && <Empty icon="check" title={t.device.queueEmpty} text={t.device.queueEmptyText} />}
        <ul className="rows">
          {queue?.pending.map((mutation) => (
            <li key={mutation.id} className="row">
              <span className="row-main">
                <What mutation={mutation} />
              </span>
            </li>
          ))}
        </ul>
      </section>
    </div>
  )
}

function What({ mutation }: { mutation: MutationView }) {
  const { t, language } = useSpeech()
  const { word, title, body } = mutation.values as Record<string, unknown>
  const named = [word, title, body].find((value) => typeof value === 'string') as string | undefined
  return (
    <>
      <span className="row-title">
        {t.device.tables[mutation.table] ?? mutation.table} {t.device.ops[mutation.op] ?? mutation.op}
      </span>
      <span className="soft">
        {named !== undefined && `${named.slice(0, 60)} · `}
        {new Date(mutation.recorded_at).toLocaleTimeString(language)}
      </span>
    </>
  )
}

function Facts({ status }: { status: ClientStatus }) {
  const { t, language } = useSpeech()
  const time = (at: string | null | undefined): string => (at ? new Date(at).toLocaleTimeString(language) : t.device.never)
  const size = (bytes: number): string => {
    const [amount, unit] = bytes < 1_000_000 ? [bytes / 1000, 'kilobyte'] : [bytes / 1_000_000, 'megabyte']
    return new Intl.NumberFormat(language, { style: 'unit', unit, maximumFractionDigits: 1 }).format(amount)
  }
  const facts: [name: string, value: string][] = [
    [t.device.connection, status.paused ? t.switches.airplane : t.device.connections[status.connection]],
    [t.device.waiting, String(status.pending)],
    [t.device.lastSync, time(status.last_synced_at)],
    [t.device.next, time(status.next_attempt_at)],
    [t.device.storage, t.device.storages[status.storage]],
    [t.device.used, status.usage_bytes == null ? '–' : size(status.usage_bytes)],
    [t.device.traffic, `${size(status.bytes_sent)} / ${size(status.bytes_received)}`],
  ]
  // Of versions that can be told of changes at once.
  const { wakeups } = status as { wakeups?: string }
  if (wakeups !== undefined) facts.push([t.device.wakeups, (t.device.wakeup as Record<string, string>)[wakeups] ?? wakeups])
  return (
    <dl className="card facts" data-testid="facts" data-wakeups={wakeups}>
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}
