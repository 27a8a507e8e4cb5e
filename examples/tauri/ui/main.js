// The page: it shows what the client tells, and asks it to record. It knows no network and keeps nothing.
const { invoke } = window.__TAURI__.core
const { listen } = window.__TAURI__.event

const show = (values, names) => {
  for (const name of names) document.getElementById(name).textContent = values[name]
}
const showProgress = (progress) => show(progress, ['total_sessions', 'total_time_spent_minutes', 'current_streak_days'])
const showStatus = (status) => show(status, ['pending'])

const say = (text) => (document.getElementById('said').textContent = text)

listen('progress', (event) => showProgress(event.payload))
listen('status', (event) => showStatus(event.payload))
// What was told before this page listened.
invoke('now').then(([progress, status]) => (showProgress(progress), showStatus(status)), say)

document.getElementById('record').addEventListener('click', () =>
  invoke('record', { minutes: 10 }).then(() => say('Recorded. It is safe on this device.'), say),
)
