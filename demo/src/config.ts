// Where the backend is. Served beside the page, and kept by the service worker for starts without a network.

export interface Config {
  url: string
  anonKey: string
}

export async function loadConfig(): Promise<Config> {
  const answer = await fetch('/config.json')
  if (!answer.ok) throw new Error(`config.json: HTTP ${answer.status}`)
  const config = (await answer.json()) as Partial<Config>
  if (!config.url || !config.anonKey) throw new Error('config.json names no backend')
  return { url: config.url, anonKey: config.anonKey }
}

/** The accounts that the development backend makes at its start. */
export const demoAccounts = [
  { name: 'Learner 1', email: 'learner1@example.com', password: 'marea-demo' },
  { name: 'Learner 2', email: 'learner2@example.com', password: 'marea-demo' },
] as const
