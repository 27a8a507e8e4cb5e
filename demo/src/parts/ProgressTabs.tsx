// Charts and history: two views of the same work.

import { useSpeech } from '../language'
import { hrefOf, useRoute } from '../route'

export function ProgressTabs() {
  const { t } = useSpeech()
  const [place] = useRoute()
  return (
    <nav className="tabs" aria-label={t.progress.title}>
      <a href={hrefOf('progress')} aria-current={place === 'progress' ? 'page' : undefined}>
        {t.progress.charts}
      </a>
      <a href={hrefOf('history')} aria-current={place === 'history' ? 'page' : undefined}>
        {t.progress.history}
      </a>
    </nav>
  )
}
