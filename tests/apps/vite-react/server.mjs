// What a server makes of the hooks: text, and no word of a worker. Prints the HTML.

import { MareaProvider, useActivity, useMarea, useProgress, useQuery, useRow, useSyncStatus, useTable } from '@marea/client/react'
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'

function Page() {
  const { state } = useMarea()
  const tables = [useTable('words', { order: ['word'] }), useRow('words', 'x'), useQuery('SELECT 1 AS one', [])]
  const values = [useProgress(), useSyncStatus(), useActivity({ days: 7 }), ...tables]
  return createElement('p', null, `${state} ${values.map(({ data }) => String(data)).join(' ')}`)
}

const options = { url: 'https://project.example', publishableKey: 'anon', userId: crypto.randomUUID(), getAccessToken: () => null }
console.log(renderToString(createElement(MareaProvider, { options }, createElement(Page))))
