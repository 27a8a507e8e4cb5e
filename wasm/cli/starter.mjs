// The first component of an app: small enough to be read, whole enough to record a session offline and see it arrive.

// A server renders the page without a mirror.
const PROVIDER = (url, key, account = 'openWithSupabase(supabase, { url, publishableKey })') => `import { createClient } from '@supabase/supabase-js'
import { openWithSupabase } from '@marea/client/supabase'

const url = ${url}
const publishableKey = ${key}

export const supabase = createClient(url, publishableKey)
/** The mirror of whoever is signed in with \`supabase\`, now and after each sign-in. */
export const account = ${account}
`

const COMPONENT = (importsFrom, client, source) => `${client}import { MareaProvider, useMarea, useProgress } from '@marea/client/react'
import { account } from '${importsFrom}'

export function Progress() {
  return (
    <MareaProvider ${source}>
      <Today />
    </MareaProvider>
  )
}

function Today() {
  const { marea } = useMarea()
  const { data } = useProgress()
  return (
    <button disabled={!marea} onClick={() => marea?.recordSession({ session_type: 'qa', duration_minutes: 5 })}>
      {data?.total_sessions ?? 0} sessions
    </button>
  )
}
`

const variables = (prefix) => [
  { name: `${prefix}SUPABASE_URL`, value: 'url', example: 'https://project.supabase.co' },
  { name: `${prefix}SUPABASE_PUBLISHABLE_KEY`, value: 'key', example: 'sb_publishable_...' },
]

/** The files (path, text) and the environment file that a framework gets. */
export function starter(framework, hasSrc) {
  const src = hasSrc || framework === 'vite' ? 'src/' : ''
  switch (framework) {
    case 'vite':
      return {
        files: [
          [`${src}marea.ts`, PROVIDER('import.meta.env.VITE_SUPABASE_URL', 'import.meta.env.VITE_SUPABASE_PUBLISHABLE_KEY')],
          [`${src}Progress.tsx`, COMPONENT('./marea', '', 'source={account}')],
        ],
        environment: { path: '.env.local', variables: variables('VITE_') },
      }
    case 'next':
      return {
        files: [
          [`${src}lib/marea.ts`, PROVIDER(
            'process.env.NEXT_PUBLIC_SUPABASE_URL!',
            'process.env.NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY!',
            "typeof window === 'undefined' ? null : openWithSupabase(supabase, { url, publishableKey })",
          )],
          [`${src}components/progress.tsx`, COMPONENT('../lib/marea', "'use client'\n\n", '{...(account ? { source: account } : { options: null })}')],
        ],
        environment: { path: '.env.local', variables: variables('NEXT_PUBLIC_') },
      }
    default:
      return { files: [], environment: null }
  }
}
