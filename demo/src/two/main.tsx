// Starts the page of two devices.

import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import '@fontsource-variable/figtree/wght.css'
import { LanguageProvider } from '../language'
import '../style.css'
import './two.css'
import { Two } from './Two'

const root = document.getElementById('root')
if (root) {
  createRoot(root).render(
    <StrictMode>
      <LanguageProvider>
        <Two />
      </LanguageProvider>
    </StrictMode>,
  )
}
