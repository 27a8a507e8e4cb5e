// The page: it shows what the mirror says, and records. `marea/` is the npm package's `dist/`, which `cargo xtask tauri` puts there.
import { open } from './marea/tauri.js'

const tauri = window.__TAURI__.core
const say = (text) => (document.getElementById('said').textContent = text)
const show = (values, names) => {
  for (const name of names) document.getElementById(name).textContent = values[name]
}

try {
  const { token, ...settings } = await tauri.invoke('settings')
  const marea = await open({ tauri, ...settings, getAccessToken: () => token })
  marea.watchProgress((progress) => show(progress, ['total_sessions', 'total_time_spent_minutes', 'current_streak_days']))
  marea.watchStatus((status) => show(status, ['pending']))
  document.getElementById('record').addEventListener('click', () =>
    marea.recordSession({ session_type: 'practice', duration_minutes: 10 }).then(() => say('Recorded. It is safe on this device.'), (error) => say(error.message)),
  )
} catch (error) {
  say(error.message ?? error)
}
