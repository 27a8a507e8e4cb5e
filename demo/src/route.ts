// Where in the app the learner is: the part of the address behind `#`, as in `#/pictures/harbour`.

import { useSyncExternalStore } from 'react'

function subscribe(listener: () => void): () => void {
  addEventListener('hashchange', listener)
  return () => removeEventListener('hashchange', listener)
}

/** The steps of the path: `['pictures', 'harbour']`. Empty at the start page. */
export function useRoute(): string[] {
  const hash = useSyncExternalStore(subscribe, () => location.hash)
  return hash.replace(/^#\/?/, '').split('/').filter(Boolean)
}

export const hrefOf = (...steps: string[]): string => `#/${steps.join('/')}`

export function go(...steps: string[]): void {
  location.hash = hrefOf(...steps)
}
