// One app for all bundlers: no framework, steered by the page's address.

import { open } from '@marea/client'

const asked = new URLSearchParams(location.search)
const [url, publishableKey, userId, token] = ['url', 'publishableKey', 'userId', 'token'].map((name) => asked.get(name))
const show = (id, text) => {
  document.getElementById(id).textContent = text
}

try {
  const marea = await open({ url, publishableKey, userId, getAccessToken: () => token })
  marea.watchProgress((progress) => show('sessions', progress.total_sessions))
  marea.watchStatus((status) => show('pending', status.pending))
  document.getElementById('record').addEventListener('click', () => void marea.recordSession({ session_type: 'qa', duration_minutes: 5 }))
  show('state', 'open')
} catch (error) {
  show('state', `${error.code}: ${error.message}`)
}
