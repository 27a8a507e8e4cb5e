// The component that opens a user's mirror for the tree below it, and closes it when the tree is gone.
//
// React may run an effect, its clean-up and the effect again within one moment (StrictMode, fast refresh). So leaving
// is only carried out when nobody has come back by the end of that moment.

import { createElement, useEffect, useRef, useState } from 'react'
import type { ReactElement, ReactNode } from 'react'
import { Connection } from '../connection.js'
import type { MareaSource, Options } from '../connection.js'
import { keyOf } from '../options.js'
import { SourceContext } from './context.js'

export type MareaProviderProps = { children?: ReactNode } & (
  | {
      /**
       * Whose mirror to open, as for `open`; null while nobody is signed in. With `userId: null` in it, that of a guest; where
       * `claimGuest` is set too, the account that signs in takes its work over.
       */
      options: Options | null
      source?: never
    }
  | {
      /** What has the mirror open, and keeps it: what `openWithSupabase` gave. The provider closes nothing of it. */
      source: MareaSource
      options?: never
    }
)

/**
 * Gives the components below it one user's mirror. The mirror is opened after the first render in a browser, and again
 * when `url`, the key or `userId` change; on a server nothing is opened. `getAccessToken` may be a new function with
 * each render: the latest one is asked.
 */
export function MareaProvider(props: MareaProviderProps): ReactElement {
  if (props.source) return createElement(SourceContext.Provider, { value: props.source }, props.children)
  return createElement(OpeningProvider, { options: props.options ?? null }, props.children)
}

function OpeningProvider({ options, children }: { options: Options | null; children?: ReactNode }): ReactElement {
  const [connection] = useState(() => new KeptConnection())
  const latest = useRef(options)
  useEffect(() => {
    latest.current = options
  })

  const { url, userId } = options ?? {}
  const key = options && keyOf(options)
  useEffect(() => {
    const now = latest.current
    const latestToken = async (fresh: boolean): Promise<string | null> =>
      (await latest.current?.getAccessToken?.(fresh)) ?? null
    // One that is missing is told by `open`.
    const getAccessToken = typeof now?.getAccessToken === 'function' ? latestToken : now?.getAccessToken
    connection.take(now && ({ ...now, getAccessToken } as Options))
    return () => connection.leave()
    // Whatever else is in the options does not make another mirror.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [connection, url, key, userId])

  return createElement(SourceContext.Provider, { value: connection.source }, children)
}

/** A connection that outlives a clean-up which is at once followed by the same effect again. */
class KeptConnection {
  readonly #connection = new Connection()
  #leaving: ReturnType<typeof setTimeout> | undefined

  get source(): MareaSource {
    return this.#connection
  }

  take(options: Options | null): void {
    clearTimeout(this.#leaving)
    this.#connection.want(options)
  }

  leave(): void {
    this.#leaving = setTimeout(() => void this.#connection.close(), 0)
  }
}
