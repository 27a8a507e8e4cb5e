// The pages that a phone's bar has no room for.

import { useSpeech } from '../language'
import { useLearner } from '../learner'
import { Icon } from '../parts/Icon'
import { MORE } from '../parts/Shell'
import { hrefOf } from '../route'

export function More() {
  const { t } = useSpeech()
  const { session } = useLearner()
  return (
    <div className="page">
      <h1>{t.nav.more}</h1>
      <ul className="lists">
        {MORE.map((name) => (
          <li key={name}>
            <a className="card list-card" href={hrefOf(name)}>
              <Icon name={name} />
              <span className="list-main list-title">{t.nav[name]}</span>
              <Icon name="arrow" />
            </a>
          </li>
        ))}
      </ul>
      <p className="soft">{session.guest ? t.signIn.notSignedIn : session.email}</p>
    </div>
  )
}
