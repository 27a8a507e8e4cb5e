// One picture: describe it, answer questions about it, take its words along.

import { pictureOf } from '../content'
import { useSpeech } from '../language'
import { Empty } from '../parts/Empty'
import { Icon } from '../parts/Icon'
import { hrefOf } from '../route'
import { Collect } from './Collect'
import { Describe } from './Describe'
import { Questions } from './Questions'

const TABS = ['describe', 'questions', 'words'] as const
type Tab = (typeof TABS)[number]

export function Picture({ id, part }: { id: string; part: string | undefined }) {
  const { t, language, target } = useSpeech()
  const picture = pictureOf(id)
  if (!picture) {
    return (
      <div className="page">
        <Empty icon="pictures" title={t.pictures.missing} text="">
          <a className="button" href={hrefOf('pictures')}>
            {t.pictures.all}
          </a>
        </Empty>
      </div>
    )
  }
  const tab: Tab = TABS.find((name) => name === part) ?? 'describe'
  return (
    <div className="page">
      <a className="back" href={hrefOf('pictures')}>
        <Icon name="back" />
        {t.pictures.all}
      </a>
      <h1 lang={target}>{picture.title[target]}</h1>
      <p className="lead">{picture.title[language]}</p>
      <div className="study">
        <img className="study-picture" src={picture.source} alt={picture.title[language]} width={480} height={320} />
        <div className="study-side">
          <nav className="tabs" aria-label={picture.title[language]}>
            {TABS.map((name) => (
              <a key={name} href={hrefOf('pictures', id, name)} aria-current={tab === name ? 'page' : undefined}>
                {t.pictures.tabs[name]}
              </a>
            ))}
          </nav>
          {tab === 'describe' && <Describe picture={picture} />}
          {tab === 'questions' && <Questions key={target} picture={picture} />}
          {tab === 'words' && <Collect picture={picture} />}
        </div>
      </div>
    </div>
  )
}
