// What the learner chooses: the language, the goal, and who is signed in.

import type { Language } from '../content'
import { device } from '../device'
import { useSpeech } from '../language'
import { useGoal, useLearner } from '../learner'
import { Icon } from '../parts/Icon'
import { Segments } from '../parts/Segments'
import { go } from '../route'

const GOALS = [5, 10, 15, 20, 30, 45, 60]

export function Settings() {
  const { t, language, target, setLanguage } = useSpeech()
  const { marea, config, session, sessions, tell } = useLearner()
  const goal = useGoal()
  const goals = GOALS.includes(goal) ? GOALS : [...GOALS, goal].sort((one, other) => one - other)
  // The row's key is the learner's own id: it is made at the first choice, and merged with afterwards.
  const choose = (minutes: number): void =>
    void marea.table('learner_settings').insert({ user_id: marea.userId, daily_minutes: minutes }).catch((error: Error) => tell(error.message))
  const signOut = (): void => {
    // The next one begins at the beginning.
    go()
    sessions.signOut()
  }
  return (
    <div className="page">
      <h1>{t.nav.settings}</h1>
      <section className="card stack" aria-labelledby="language-title">
        <h2 id="language-title">{t.settings.language}</h2>
        <Segments<Language>
          legend={t.settings.language}
          name="language"
          value={language}
          onChoose={setLanguage}
          choices={[
            { id: 'en', name: 'English' },
            { id: 'es', name: 'Español' },
          ]}
        />
        <p className="soft">{t.settings.learning(t.languages[target])}</p>
      </section>
      <section className="card stack" aria-labelledby="goal-title">
        <h2 id="goal-title">{t.settings.goal}</h2>
        <label className="field">
          <span className="unseen">{t.settings.goal}</span>
          <select value={goal} onChange={(event) => choose(Number(event.target.value))} data-testid="goal">
            {goals.map((minutes) => (
              <option key={minutes} value={minutes}>
                {minutes} {t.today.minutes}
              </option>
            ))}
          </select>
        </label>
        <p className="soft">{t.settings.goalText}</p>
      </section>
      {config.devices.length > 1 && device === null && (
        <section className="card stack" aria-labelledby="two-title">
          <h2 id="two-title">{t.settings.two}</h2>
          <p className="soft">{t.settings.twoText}</p>
          <a className="button" href="/two.html">
            {t.signIn.two}
            <Icon name="arrow" />
          </a>
        </section>
      )}
      {!config.guest && (
        <section className="card stack" aria-labelledby="account-title">
          <h2 id="account-title">{t.settings.account}</h2>
          <p>{session.guest ? t.signIn.notSignedIn : session.email}</p>
          <button type="button" className="button" onClick={signOut} data-testid="sign-out">
            {session.guest ? t.signIn.enter : t.settings.signOut}
          </button>
          <p className="soft">{session.guest ? t.signIn.neededText : t.settings.signOutText}</p>
        </section>
      )}
    </div>
  )
}
