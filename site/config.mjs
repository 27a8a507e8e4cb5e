// The site's own settings. Pages are named by their paths in the repository; a page of docs/ that no group names is in *More*.

import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'

const pages = fileURLToPath(new URL('..', import.meta.url))

const GROUPS = {
  Start: ['README.md', 'docs/FIVE_MINUTES.md', 'wasm/README.md', 'docs/BUNDLERS.md', 'docs/SIGN_IN.md', 'docs/GUESTS.md', 'docs/UNIT_TESTS.md'],
  Guides: ['docs/TABLES.md', 'docs/WEB.md', 'docs/FILES.md', 'docs/ADAPTERS.md', 'docs/VAULT.md', 'docs/WAKEUPS.md', 'docs/DEVTOOLS.md', 'docs/DESKTOP.md', 'docs/NODE.md'],
  'On the server': ['docs/migrations/README.md', 'docs/migrations/DEPLOY.md', 'docs/migrations/ADOPTION.md', 'docs/migrations/OPERATIONS.md', 'docs/migrations/PAIRS.md', 'docs/migrations/USERS.md', 'docs/CAPACITY.md', 'docs/COSTS.md'],
  Reference: ['reference/typescript/modules.md', 'docs/FIELDS.md', 'reference/sql.md', 'docs/PROTOCOL.md'],
  Inside: ['docs/ARCHITECTURE.md', 'docs/PEERS.md', 'docs/THREATS.md', 'docs/TESTING.md', 'docs/adr/README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'CHANGELOG.md'],
}

const title = (path) => {
  if (path === 'README.md') return 'Try it'
  if (path === 'wasm/README.md') return 'In a web app'
  const text = readFileSync(join(pages, path), 'utf8')
  return (/^# (.+)$/m.exec(text)?.[1] ?? path).replaceAll(/[`*\\]/g, '')
}

const item = (path) => ({ text: title(path), link: `/${path.replace(/\.md$/, '')}` })
const there = (paths) => paths.filter((path) => existsSync(join(pages, path)))
const named = new Set(Object.values(GROUPS).flat())
const more = readdirSync(join(pages, 'docs'))
  .filter((name) => name.endsWith('.md') && !named.has(`docs/${name}`))
  .map((name) => `docs/${name}`)

export default defineConfig({
  title: 'Marea',
  description: 'An offline-first sync engine for apps on Postgres',
  lang: 'en',
  cleanUrls: false,
  // Places are named as the repository's host names them, so that a link holds here and there.
  markdown: {
    theme: { light: 'github-light-high-contrast', dark: 'github-dark-high-contrast' },
    anchor: { slugify: (heading) => heading.trim().toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-') },
  },
  themeConfig: {
    search: { provider: 'local' },
    outline: { level: [2, 3] },
    sidebar: [...Object.entries(GROUPS).map(([text, paths]) => ({ text, items: there(paths).map(item) })), ...(more.length > 0 ? [{ text: 'More', items: more.map(item) }] : [])],
    nav: [
      { text: 'Start', link: '/wasm/README' },
      { text: 'Demo', link: '/demo' },
      { text: 'Reference', link: '/reference/typescript/modules' },
    ],
  },
})
