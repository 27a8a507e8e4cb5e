// What both apps have in common: whose mirror is open, as the page's address says, and what waits.

import { MareaProvider, useMarea, useSyncStatus } from '@marea/client/react'
import { StrictMode } from 'react'
import type { ReactNode } from 'react'
import { createRoot } from 'react-dom/client'
import { schema } from './marea.schema'

const asked = new URLSearchParams(location.search)

function State() {
  const { state, error } = useMarea()
  const { data: status } = useSyncStatus()
  return (
    <>
      <output id="state">{state}</output>
      <output id="error">{error?.code}</output>
      <output id="pending">{status?.pending}</output>
      <output id="rejected">{status?.rejected}</output>
    </>
  )
}

export function start(app: ReactNode): void {
  const options = {
    url: asked.get('url')!,
    anonKey: asked.get('anonKey')!,
    userId: asked.get('userId')!,
    getAccessToken: () => asked.get('token'),
    schema,
  }
  createRoot(document.getElementById('root')!).render(
    <StrictMode>
      <MareaProvider options={options}>
        <State />
        {app}
      </MareaProvider>
    </StrictMode>,
  )
}
