// Starts the page, and the service worker that lets it start without a network the next time.

import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import '@fontsource-variable/figtree/wght.css'
import { App } from './App'
import { LanguageProvider } from './language'
import './style.css'

const root = document.getElementById('root')
if (root) {
  createRoot(root).render(
    <StrictMode>
      <LanguageProvider>
        <App />
      </LanguageProvider>
    </StrictMode>,
  )
}

if (import.meta.env.MODE === 'production' && 'serviceWorker' in navigator) {
  // Without it the page only needs a network to start; nothing else changes.
  void navigator.serviceWorker.register('/sw.js').catch(() => undefined)
}
