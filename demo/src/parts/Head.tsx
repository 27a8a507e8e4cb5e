// The head of the page: who is here, how the tide stands, and the airplane switch.

import type { Tide } from '../words'
import { Waves } from './Waves'
import { Wordmark } from './Wordmark'

interface Props {
  email: string
  tide: Tide
  pending: number
  rejected: number
  airplane: boolean
  onAirplane(on: boolean): void
  onSignOut(): void
}

export function Head({ email, tide, pending, rejected, airplane, onAirplane, onSignOut }: Props) {
  return (
    <header className="head">
      <Waves level={tide.level} />
      <div className="head-inside">
        <div className="bar">
          <Wordmark />
          <div className="who">
            <span className="email" data-testid="account">
              {email}
            </span>
            <button type="button" className="link" onClick={onSignOut} data-testid="sign-out">
              Sign out
            </button>
          </div>
        </div>
        <div className="tide">
          <div className="tide-words" role="status">
            <h1 data-testid="sync-state" data-level={tide.level}>
              {tide.title}
            </h1>
            <p data-testid="sync-text">{tide.text}</p>
            {rejected > 0 && <p data-testid="rejected">The server refused {rejected}. They are kept and marked.</p>}
          </div>
          <div className="tide-side">
            <div className="waiting">
              <strong data-testid="pending">{pending}</strong>
              <span>waiting to be sent</span>
            </div>
            <label className="switch">
              <input
                type="checkbox"
                role="switch"
                checked={airplane}
                onChange={(event) => onAirplane(event.target.checked)}
                data-testid="airplane"
              />
              <span className="track" aria-hidden="true" />
              Airplane mode
            </label>
          </div>
        </div>
      </div>
    </header>
  )
}
