// Which language the app speaks, and which one is learned: the other one.

import { createContext, useContext, useEffect, useMemo, useState } from 'react'
import type { ReactNode } from 'react'
import type { Language } from './content'
import { keep, readKept } from './device'
import { words } from './words'
import type { Words } from './words'

interface Speech {
  /** The app's. */
  language: Language
  /** The one that is learned. */
  target: Language
  t: Words
  setLanguage(language: Language): void
}

const SpeechContext = createContext<Speech | null>(null)
const KEY = 'language'

function first(): Language {
  const kept = readKept(KEY)
  if (kept === 'en' || kept === 'es') return kept
  return navigator.language.toLowerCase().startsWith('es') ? 'es' : 'en'
}

export function LanguageProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState(first)
  useEffect(() => {
    document.documentElement.lang = language
  }, [language])
  const speech = useMemo<Speech>(
    () => ({
      language,
      target: language === 'en' ? 'es' : 'en',
      t: words[language],
      setLanguage: (next) => {
        keep(KEY, next)
        setLanguage(next)
      },
    }),
    [language],
  )
  return <SpeechContext.Provider value={speech}>{children}</SpeechContext.Provider>
}

export function useSpeech(): Speech {
  const speech = useContext(SpeechContext)
  if (!speech) throw new Error('A part of the page is outside of LanguageProvider.')
  return speech
}
