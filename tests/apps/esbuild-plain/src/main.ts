// An app without a framework that signs its learners in with supabase-js.

import { MareaError } from '@marea/client'
import type { Marea } from '@marea/client'
import { openWithSupabase } from '@marea/client/supabase'
import type { Account } from '@marea/client/supabase'
import { createClient } from '@supabase/supabase-js'
import type { SupabaseClient } from '@supabase/supabase-js'

declare global {
  interface Window {
    supabase: SupabaseClient
    marea: Marea | null
  }
}

const asked = new URLSearchParams(location.search)
const [url, publishableKey] = [asked.get('url')!, asked.get('publishableKey')!]

const show = (id: string, text: unknown): void => {
  document.getElementById(id)!.textContent = String(text)
}

// Whose sign-in is elsewhere: such a client says nothing about who is signed in.
const options = asked.has('elsewhere') ? { accessToken: async () => null } : {}
window.supabase = createClient(url, publishableKey, options)
const account = open()

function open(): Account {
  try {
    return openWithSupabase(window.supabase, { url, publishableKey })
  } catch (error) {
    show('state', error instanceof MareaError ? `${error.code} ${error.message}` : error)
    throw error
  }
}

function follow(): void {
  const { state, marea } = account.state
  show('state', state)
  if (window.marea === marea) return
  window.marea = marea
  if (!marea) return
  marea.watchProgress((progress) => window.marea === marea && show('sessions', progress.total_sessions))
  marea.watchStatus((status) => window.marea === marea && show('pending', status.pending))
}
window.marea = null
account.subscribe(follow)
follow()

document.getElementById('record')!.addEventListener('click', () => {
  void account.ready().then((marea) => marea.recordSession({ session_type: 'qa', duration_minutes: 5 }))
})
