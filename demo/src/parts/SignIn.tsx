// Signing in: a demo account with one press, or one's own.

import { useState } from 'react'
import type { FormEvent } from 'react'
import { demoAccounts } from '../config'
import type { Sessions } from '../session'
import { Waves } from './Waves'
import { Wordmark } from './Wordmark'

export function SignIn({ sessions }: { sessions: Sessions }) {
  const [email, setEmail] = useState('')
  const [password, setPassword] = useState('')
  const [problem, setProblem] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)

  const enter = (action: () => Promise<void>): void => {
    setBusy(true)
    setProblem(null)
    action().catch((error: Error) => {
      setProblem(error.message)
      setBusy(false)
    })
  }
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    enter(() => sessions.signIn(email, password))
  }

  return (
    <div className="entrance">
      <Waves level="in" />
      <main className="narrow">
        <Wordmark />
        <p className="lead">Progress that is kept on your device, and reaches home with the tide.</p>
        <section className="card">
          <h1>Sign in</h1>
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
                {account.name}
              </button>
            ))}
          </div>
          <p className="or">
            <span>or with your own account</span>
          </p>
          <form className="stack" onSubmit={submit}>
            <label className="field">
              Email
              <input
                type="email"
                autoComplete="username"
                required
                value={email}
                onChange={(event) => setEmail(event.target.value)}
                data-testid="email"
              />
            </label>
            <label className="field">
              Password
              <input
                type="password"
                autoComplete="current-password"
                required
                minLength={6}
                value={password}
                onChange={(event) => setPassword(event.target.value)}
                data-testid="password"
              />
            </label>
            {problem && (
              <p className="problem" role="alert" data-testid="sign-in-problem">
                {problem}
              </p>
            )}
            <div className="pair">
              <button className="button primary" disabled={busy} data-testid="sign-in">
                Sign in
              </button>
              <button
                type="button"
                className="button"
                disabled={busy || !email || !password}
                data-testid="sign-up"
                onClick={() => enter(() => sessions.signUp(email, password))}
              >
                New account
              </button>
            </div>
          </form>
        </section>
      </main>
    </div>
  )
}
