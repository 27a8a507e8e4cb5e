// A server component. What the address says is handed to the provider, which is a client component by itself.

import { MareaProvider } from '@marea/client/react'
import { Signed } from './signed'

export const dynamic = 'force-dynamic'

export default async function Page({ searchParams }: { searchParams: Promise<Record<string, string>> }) {
  const { url, publishableKey, userId, token } = await searchParams
  if (!url || !publishableKey || !userId || !token) {
    return (
      <MareaProvider options={null}>
        <p>Nobody is signed in.</p>
      </MareaProvider>
    )
  }
  return <Signed url={url} publishableKey={publishableKey} userId={userId} token={token} />
}
