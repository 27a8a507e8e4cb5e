// Which page the address names.

import { useRoute } from '../route'
import { Device } from './Device'
import { Exports } from './Exports'
import { History } from './History'
import { Keys } from './Keys'
import { List } from './List'
import { More } from './More'
import { Picture } from './Picture'
import { Pictures } from './Pictures'
import { Progress } from './Progress'
import { Review } from './Review'
import { Settings } from './Settings'
import { Today } from './Today'
import { Words } from './Words'

export function Page() {
  const [place, name, part] = useRoute()
  switch (place) {
    case 'pictures':
      return name ? <Picture key={name} id={name} part={part} /> : <Pictures />
    case 'words':
      return <Words />
    case 'list':
      return name ? <List key={name} id={name} /> : <Words />
    case 'review':
      return <Review key={name ?? 'all'} listId={name ?? null} />
    case 'progress':
      return <Progress />
    case 'history':
      return <History />
    case 'exports':
      return <Exports />
    case 'keys':
      return <Keys />
    case 'device':
      return <Device />
    case 'settings':
      return <Settings />
    case 'more':
      return <More />
    default:
      return <Today />
  }
}
