// The mirror that the tree is about, handed down from the provider.

import { createContext, useContext, useMemo, useSyncExternalStore } from 'react'
import { OPENING } from '../connection.js'
import type { MareaSource, MareaState } from '../connection.js'
import { MareaError } from '../errors.js'

export const SourceContext = createContext<MareaSource | null>(null)

/** The state of the mirror, and how to try again when it could not be opened. */
export type MareaHandle = MareaState & { readonly retry: () => void }

export function useSource(): MareaSource {
  const source = useContext(SourceContext)
  if (!source) {
    throw new MareaError('invalid_input', 'This hook needs a <MareaProvider> above the component that uses it.', false)
  }
  return source
}

export function useMareaState(source: MareaSource): MareaState {
  // A server has no mirror, and the browser's first render must show what the server did.
  return useSyncExternalStore(source.subscribe, () => source.state, () => OPENING)
}

/**
 * The mirror, once it is open: `{ state, marea, error, retry }`. `marea` is null unless `state` is `'open'`; `error` is
 * null unless it is `'failed'`.
 */
export function useMarea(): MareaHandle {
  const source = useSource()
  const state = useMareaState(source)
  return useMemo(() => ({ ...state, retry: source.retry }), [state, source])
}
