// Whether the page is as narrow as a phone, for what CSS alone cannot draw otherwise.

import { useSyncExternalStore } from 'react'

const query = matchMedia('(max-width: 599px)')

function subscribe(listener: () => void): () => void {
  query.addEventListener('change', listener)
  return () => query.removeEventListener('change', listener)
}

export const useNarrow = (): boolean => useSyncExternalStore(subscribe, () => query.matches)
