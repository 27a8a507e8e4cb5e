// The app on two devices, side by side: two origins, so two databases, with one account.

import { useEffect, useState } from 'react'
import { loadConfig } from '../config'
import { useSpeech } from '../language'
import { Icon } from '../parts/Icon'
import { Notice } from '../parts/Notice'
import { Wordmark } from '../parts/Wordmark'
import type { Shown } from '../remote'
import { agree, play } from './play'
import type { Step } from './play'
import { NAMES, useDevices } from './useDevices'

export function Two() {
  const { t } = useSpeech()
  const [origins, setOrigins] = useState<string[] | null>(null)
  useEffect(() => {
    loadConfig().then(
      ({ devices }) => setOrigins(devices),
      () => setOrigins([]),
    )
  }, [])
  if (!origins) return <p className="boot">marea</p>
  if (origins.length < 2) {
    return (
      <Notice title={t.two.title}>
        <p>{t.two.missing}</p>
      </Notice>
    )
  }
  return <Pair origins={origins} />
}

function Pair({ origins }: { origins: readonly string[] }) {
  const { t } = useSpeech()
  const devices = useDevices(origins)
  const { frames, shown, startOver } = devices
  const [step, setStep] = useState<Step | null>(null)
  const [playing, setPlaying] = useState(false)
  const [left, right] = shown
  const ready = left !== null && left !== undefined && right !== null && right !== undefined
  const same = ready && agree(left, right)

  const start = (): void => {
    setPlaying(true)
    void play(devices, setStep).finally(() => setPlaying(false))
  }
  return (
    <div className="two">
      <header className="two-head">
        <div className="two-top">
          <Wordmark />
          <a className="button small quiet" href="/">
            {t.two.back}
          </a>
        </div>
        <div className="two-say">
          <div>
            <h1>{t.two.title}</h1>
            <p className="lead" role="status" data-testid="two-step" data-step={step ?? (ready ? 'ready' : 'opening')}>
              {step ? t.two.steps[step] : t.two.lead}
            </p>
          </div>
          <div className="buttons">
            <button type="button" className="button primary" disabled={!ready || playing} onClick={start} data-testid="play">
              {playing ? t.two.playing : step ? t.two.again : t.two.play}
              {!playing && <Icon name="arrow" />}
            </button>
            <button
              type="button"
              className="button"
              disabled={playing}
              onClick={() => {
                setStep(null)
                startOver()
              }}
            >
              {t.two.fresh}
            </button>
          </div>
        </div>
      </header>
      <main className="two-devices">
        {NAMES.map((name, index) => (
          <section key={name} className="two-device" data-offline={shown[index]?.airplane || undefined} aria-label={t.two[name]}>
            <div className="two-bar">
              <h2>{t.two[name]}</h2>
              <Facts shown={shown[index] ?? null} />
            </div>
            <iframe ref={frames[index]} src={`${origins[index]}/?device=${name}#/words`} title={t.two[name]} data-testid={name} />
          </section>
        ))}
      </main>
      <p className="two-verdict" role="status" data-same={same || undefined} data-testid="two-verdict">
        {ready && (
          <>
            <Icon name={same ? 'check' : 'sync'} />
            {same ? t.two.agree : t.two.differ}
          </>
        )}
      </p>
    </div>
  )
}

function Facts({ shown }: { shown: Shown | null }) {
  const { t } = useSpeech()
  const facts = [
    [t.today.sessions, shown?.sessions],
    [t.nav.words, shown?.words],
    [t.two.waiting, shown?.pending],
  ] as const
  return (
    <dl className="two-facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value ?? '–'}</dd>
        </div>
      ))}
    </dl>
  )
}
