// The frame of every page: the name, how the sync stands, the airplane switch, and the way to the other pages.

import { useSyncStatus } from '@marea/client/react'
import { useEffect, useRef } from 'react'
import type { ReactNode } from 'react'
import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { hrefOf, useRoute } from '../route'
import { syncStateOf } from '../status'
import { Icon } from './Icon'
import type { IconName } from './Icon'
import { Wordmark } from './Wordmark'

const MAIN = ['today', 'pictures', 'words', 'progress'] as const
export const MORE = ['exports', 'keys', 'device', 'settings'] as const

// Pages that are reached from another one belong to it.
const PLACE: Record<string, string> = { review: 'words', list: 'words', history: 'progress' }

export function Shell({ children }: { children: ReactNode }) {
  const { t } = useSpeech()
  const { session } = useLearner()
  const route = useRoute()
  const here = route[0] ?? 'today'
  const place = PLACE[here] ?? here
  const main = useRef<HTMLElement>(null)
  const path = route.join('/')
  const before = useRef(path)

  // A new page is read from its beginning, with the eyes as with a screen reader.
  useEffect(() => {
    if (before.current === path) return
    before.current = path
    scrollTo(0, 0)
    main.current?.focus({ preventScroll: true })
  }, [path])

  const title = (t.nav as Record<string, string>)[place]
  useEffect(() => {
    document.title = title ? `${title} · Marea` : 'Marea'
  }, [title])

  const link = (name: IconName & keyof typeof t.nav, kind: string) => (
    <a key={name} className={kind} href={hrefOf(...(name === 'today' ? [] : [name]))} aria-current={place === name ? 'page' : undefined}>
      <Icon name={name} />
      <span>{t.nav[name]}</span>
    </a>
  )
  return (
    <div className="shell">
      <a className="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        {t.skip}
      </a>
      <header className="head">
        <a className="home" href={hrefOf()} aria-label="Marea">
          <Wordmark />
        </a>
        <SyncMark />
        <AirplaneSwitch />
      </header>
      <nav className="nav" aria-label={t.nav.label}>
        {MAIN.map((name) => link(name, 'tab'))}
        <a className="tab only-narrow" href={hrefOf('more')} aria-current={[...MORE, 'more'].some((name) => name === place) ? 'page' : undefined}>
          <Icon name="more" />
          <span>{t.nav.more}</span>
        </a>
        <div className="only-wide rest">
          {MORE.map((name) => link(name, 'tab'))}
          <p className="account" data-testid="account">
            {session.guest ? t.signIn.notSignedIn : session.email}
          </p>
        </div>
      </nav>
      <main id="main" ref={main} tabIndex={-1}>
        {children}
      </main>
    </div>
  )
}

function SyncMark() {
  const { t } = useSpeech()
  const { airplane, session } = useLearner()
  const { data: status } = useSyncStatus()
  const state = syncStateOf(t, status, airplane, session)
  const pending = status?.pending ?? 0
  return (
    <a className="sync" href={hrefOf('device')} data-level={state.level} title={state.text}>
      <span className="dot" aria-hidden="true" />
      <span data-testid="sync-state" data-level={state.level}>
        {state.title}
      </span>
      <span className="waiting" hidden={pending === 0}>
        <span data-testid="pending">{pending}</span>
        <span className="unseen"> {t.sync.pending}</span>
      </span>
      <span className="unseen" role="status" data-testid="sync-text">
        {state.text}
      </span>
    </a>
  )
}

function AirplaneSwitch() {
  const { t } = useSpeech()
  const { airplane, setAirplane } = useLearner()
  return (
    <label className="switch">
      <Icon name="plane" />
      <span className="switch-name">{t.switches.airplane}</span>
      <input
        type="checkbox"
        role="switch"
        checked={airplane}
        onChange={(event) => setAirplane(event.target.checked)}
        data-testid="airplane"
      />
      <span className="track" aria-hidden="true" />
    </label>
  )
}
