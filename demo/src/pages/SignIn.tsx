// Signing in: a demo account with one press, or one's own.

import { useState } from 'react'
import type { FormEvent } from 'react'
import { demoAccounts } from '../config'
import type { Config } from '../config'
import { pictures } from '../content'
import { device } from '../device'
import { useSpeech } from '../language'
import { Icon } from '../parts/Icon'
import { Wordmark } from '../parts/Wordmark'
import { SignInError } from '../session'
import type { Sessions } from '../session'

export function SignIn({ config, sessions }: { config: Config; sessions: Sessions }) {
  const { t, language, setLanguage } = useSpeech()
  const [email, setEmail] = useState('')
  const [password, setPassword] = useState('')
  const [problem, setProblem] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)

  const enter = (action: () => Promise<void>): void => {
    setBusy(true)
    setProblem(null)
    action().catch((error: unknown) => {
      setProblem(error instanceof SignInError && error.reached ? error.message : t.signIn.offline)
      setBusy(false)
    })
  }
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    enter(() => sessions.signIn(email, password))
  }
  const other = language === 'en' ? 'es' : 'en'

  return (
    <main className="entrance">
      <div className="entrance-side">
        <div className="entrance-top">
          <Wordmark />
          <button type="button" className="button small quiet" lang={other} onClick={() => setLanguage(other)}>
            {other === 'es' ? 'Español' : 'English'}
          </button>
        </div>
        <h1>{t.signIn.title}</h1>
        <p className="lead">{t.signIn.lead}</p>
        <div className="entrance-pictures" aria-hidden="true">
          {pictures.slice(0, 3).map(({ id, source }) => (
            <img key={id} src={source} alt="" width={480} height={320} />
          ))}
        </div>
      </div>
      <section className="card" aria-labelledby="enter-title">
        <h2 id="enter-title">{t.signIn.heading}</h2>
        <div className="pair">
          {demoAccounts.map((account, index) => (
            <button
              key={account.email}
              type="button"
              className="button"
              disabled={busy}
              data-testid={`sign-in-learner${index + 1}`}
              onClick={() => enter(() => sessions.signIn(account.email, account.password))}
            >
              {t.signIn.demo(index + 1)}
            </button>
          ))}
        </div>
        <p className="or">
          <span>{t.signIn.or}</span>
        </p>
        <form className="stack" onSubmit={submit}>
          <label className="field">
            {t.signIn.email}
            <input type="email" autoComplete="username" required value={email} onChange={(event) => setEmail(event.target.value)} data-testid="email" />
          </label>
          <label className="field">
            {t.signIn.password}
            <input type="password" autoComplete="current-password" required minLength={6} value={password} onChange={(event) => setPassword(event.target.value)} data-testid="password" />
          </label>
          {problem !== null && (
            <p className="problem" role="alert" data-testid="sign-in-problem">
              {problem}
            </p>
          )}
          <div className="pair">
            <button className="button primary" disabled={busy} data-testid="sign-in">
              {t.signIn.enter}
            </button>
            <button type="button" className="button" disabled={busy || !email || !password} data-testid="sign-up" onClick={() => enter(() => sessions.signUp(email, password))}>
              {t.signIn.create}
            </button>
          </div>
        </form>
        <button type="button" className="button quiet" disabled={busy} onClick={() => sessions.enterAsGuest()} data-testid="guest">
          {t.signIn.guest}
        </button>
        {config.devices.length > 1 && device === null && (
          <a className="two-link" href="/two.html">
            {t.signIn.two}
            <Icon name="arrow" />
          </a>
        )}
      </section>
    </main>
  )
}
