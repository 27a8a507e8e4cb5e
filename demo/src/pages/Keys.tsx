// The learner's own API keys, sealed with a passphrase that only the learner has.

import type { ApiProvider, KeysStatus } from '@marea/client'
import { useApiKeys } from '@marea/client/react'
import { useState } from 'react'
import type { FormEvent } from 'react'
import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { Empty } from '../parts/Empty'
import { Icon } from '../parts/Icon'
import { Sure } from '../parts/Sure'

const PROVIDERS: readonly { id: ApiProvider; name: string }[] = [
  { id: 'openai', name: 'OpenAI' },
  { id: 'anthropic', name: 'Anthropic' },
  { id: 'unsplash', name: 'Unsplash' },
]
const nameOf = (provider: string): string => PROVIDERS.find(({ id }) => id === provider)?.name ?? provider

export function Keys() {
  const { t } = useSpeech()
  const { session } = useLearner()
  const { data: status } = useApiKeys()
  return (
    <div className="page">
      <h1>{t.keys.title}</h1>
      <p className="lead">{t.keys.lead}</p>
      {session.guest && <Empty icon="keys" title={t.signIn.needed} text={t.signIn.neededText} />}
      {!session.guest && status && (status.state === 'unlocked' ? <Open status={status} /> : <Closed key={status.state} isNew={status.state === 'not_set_up'} />)}
      {!session.guest && status && <Sealed status={status} />}
    </div>
  )
}

/** Asks for the passphrase: the first one to choose, or the one that was chosen. */
function Closed({ isNew }: { isNew: boolean }) {
  const { t } = useSpeech()
  const { marea } = useLearner()
  const [passphrase, setPassphrase] = useState('')
  const [problem, setProblem] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault()
    setBusy(true)
    setProblem(null)
    try {
      if (isNew) await marea.keys.setUp(passphrase)
      else await marea.keys.unlock(passphrase)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : null
      setProblem(code === 'wrong_passphrase' ? t.keys.wrong : error instanceof Error ? error.message : t.log.problem)
      setBusy(false)
    }
  }
  return (
    <form className="card stack" onSubmit={(event) => void submit(event)}>
      <h2>{isNew ? t.keys.setUp : t.keys.locked}</h2>
      {isNew && <p className="soft">{t.keys.setUpText}</p>}
      <label className="field">
        {t.keys.passphrase}
        {/* A new one is to be written down, so it can be seen. */}
        <input
          type={isNew ? 'text' : 'password'}
          autoComplete={isNew ? 'new-password' : 'current-password'}
          required
          value={passphrase}
          onChange={(event) => setPassphrase(event.target.value)}
          data-testid="passphrase"
        />
      </label>
      {problem !== null && (
        <p className="problem" role="alert">
          {problem}
        </p>
      )}
      <div className="buttons">
        <button className="button primary" disabled={busy} data-testid="use-passphrase">
          {isNew ? t.keys.choose : t.keys.unlock}
        </button>
        {isNew && (
          <button type="button" className="button" onClick={() => void marea.keys.generatePassphrase().then(setPassphrase)}>
            {t.keys.generate}
          </button>
        )}
      </div>
    </form>
  )
}

function Open({ status }: { status: KeysStatus }) {
  const { t } = useSpeech()
  const { marea, tell } = useLearner()
  const [provider, setProvider] = useState<ApiProvider>('openai')
  const [key, setKey] = useState('')
  const [code, setCode] = useState<string | null>(null)
  const failed = (error: Error): void => tell(error.message)
  const seal = (event: FormEvent): void => {
    event.preventDefault()
    marea.keys.put(provider, key.trim()).then(() => {
      setKey('')
      tell(t.keys.sealed)
    }, failed)
  }
  return (
    <section className="card stack" aria-labelledby="open-title">
      <div className="title-row">
        <h2 id="open-title">{t.keys.open}</h2>
        <button type="button" className="button small" onClick={() => void marea.keys.lock().catch(failed)} data-testid="lock">
          <Icon name="lock" />
          {t.keys.lock}
        </button>
      </div>
      <p className="soft">{t.keys.openText}</p>
      <form className="inline-form" onSubmit={seal}>
        <label className="field">
          {t.keys.provider}
          <select value={provider} onChange={(event) => setProvider(event.target.value as ApiProvider)}>
            {PROVIDERS.map(({ id, name }) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label className="field">
          {t.keys.key}
          <input type="password" autoComplete="off" required value={key} onChange={(event) => setKey(event.target.value)} data-testid="api-key" />
        </label>
        <button className="button primary" data-testid="seal">
          {t.keys.seal}
        </button>
      </form>
      {code === null ? (
        <div className="buttons">
          {status.has_recovery_code ? (
            <p className="soft">{t.keys.recoveryHas}</p>
          ) : (
            <button type="button" className="button quiet" onClick={() => void marea.keys.makeRecoveryCode().then(setCode, failed)}>
              {t.keys.recovery}
            </button>
          )}
        </div>
      ) : (
        <p role="status">
          <output className="code">{code}</output>
          <span className="soft">{t.keys.recoveryText}</span>
        </p>
      )}
    </section>
  )
}

function Sealed({ status }: { status: KeysStatus }) {
  const { t } = useSpeech()
  const { marea, tell } = useLearner()
  if (status.keys.length === 0) return <Empty icon="keys" title={t.keys.none} text="" />
  return (
    <ul className="rows">
      {status.keys.map((key) => (
        <li key={key.provider} className="row" data-testid="sealed-key">
          <span className="row-main">
            <span className="row-title">{nameOf(key.provider)}</span>
            <span className="soft">{key.hint ?? t.keys.states[key.state]}</span>
          </span>
          <span className="row-buttons">
            <Sure iconOnly name={`${t.remove}: ${nameOf(key.provider)}`} question={`${t.remove}?`} onSure={() => void marea.keys.remove(key.provider).catch((error: Error) => tell(error.message))} />
          </span>
        </li>
      ))}
    </ul>
  )
}
