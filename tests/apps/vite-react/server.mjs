// What a server makes of the hooks: text, and no word of a worker. Prints the HTML.

import { MareaProvider, useActivity, useMarea, useProgress, useSyncStatus } from '@marea/client/react'
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'

function Page() {
  const { state } = useMarea()
  const values = [useProgress(), useSyncStatus(), useActivity({ days: 7 })]
  return createElement('p', null, `${state} ${values.map(({ data }) => String(data)).join(' ')}`)
}

const options = { url: 'https://project.example', anonKey: 'anon', userId: crypto.randomUUID(), getAccessToken: () => null }
console.log(renderToString(createElement(MareaProvider, { options }, createElement(Page))))
