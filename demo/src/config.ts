// Where the backend is. Served beside the page, and kept by the service worker for starts without a network.

export interface Config {
  url: string
  anonKey: string
  /** The origins that serve this app, where there are two: each has a mirror of its own, as two devices have. */
  devices: string[]
  /** There is no server: whoever comes is a guest, and stays one. */
  guest?: boolean
}

export async function loadConfig(): Promise<Config> {
  // Built into the documentation's site, which is files and nothing else.
  if (import.meta.env.MODE === 'site') return { url: location.origin, anonKey: 'none', devices: [], guest: true }
  const answer = await fetch('/config.json')
  if (!answer.ok) throw new Error(`config.json: HTTP ${answer.status}`)
  const { url, anonKey, devices = [] } = (await answer.json()) as Partial<Config>
  if (!url || !anonKey) throw new Error('config.json names no backend')
  return { url, anonKey, devices }
}

/** The accounts that the development backend makes at its start. */
export const demoAccounts = [
  { email: 'learner1@example.com', password: 'marea-demo' },
  { email: 'learner2@example.com', password: 'marea-demo' },
] as const
