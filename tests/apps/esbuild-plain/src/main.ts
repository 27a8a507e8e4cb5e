// An app without a framework that signs its learners in with supabase-js.

import { openWithSupabase } from '@marea/client/supabase'
import type { Marea } from '@marea/client'
import { createClient } from '@supabase/supabase-js'
import type { SupabaseClient } from '@supabase/supabase-js'

declare global {
  interface Window {
    supabase: SupabaseClient
    marea: Marea | null
  }
}

const asked = new URLSearchParams(location.search)
const [url, anonKey] = [asked.get('url')!, asked.get('anonKey')!]

window.supabase = createClient(url, anonKey)
const account = openWithSupabase(window.supabase, { url, anonKey })

const show = (id: string, text: unknown): void => {
  document.getElementById(id)!.textContent = String(text)
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
