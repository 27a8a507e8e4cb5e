// The two devices: who is signed in on them, what they show, and how to ask something of them.

import { useCallback, useEffect, useRef, useState } from 'react'
import type { RefObject } from 'react'
import { listen, send } from '../remote'
import type { Account, Order, Report, Shown } from '../remote'

export const NAMES = ['laptop', 'phone'] as const
const ACCOUNT_KEY = 'marea-demo.two.account'

const makeAccount = (): Account => ({ email: `two-${crypto.randomUUID().slice(0, 8)}@example.com`, password: crypto.randomUUID() })

function keptAccount(): Account | null {
  try {
    return JSON.parse(localStorage.getItem(ACCOUNT_KEY) ?? 'null') as Account | null
  } catch {
    return null
  }
}

export interface Devices {
  frames: readonly RefObject<HTMLIFrameElement | null>[]
  shown: readonly (Shown | null)[]
  /** What a device shows at this moment, where a render would come too late. */
  now(index: number): Shown | null
  order(index: number, order: Order): void
  /** Waits until both show what is asked for; false when that takes too long. */
  until(holds: (left: Shown, right: Shown) => boolean): Promise<boolean>
  /** Another learner, of whom nothing is known. */
  startOver(): void
}

// A busy machine may take long; a device that never answers is told in the end.
const LIMIT_MS = 60_000

export function useDevices(origins: readonly string[]): Devices {
  const left = useRef<HTMLIFrameElement>(null)
  const right = useRef<HTMLIFrameElement>(null)
  const [frames] = useState([left, right] as const)
  const [shown, setShown] = useState<readonly (Shown | null)[]>([null, null])
  const latest = useRef(shown)
  const waiting = useRef(new Set<() => void>())
  const account = useRef<Account | null>(keptAccount())
  // Who is signed in, as the devices say: the second follows the first.
  const emails = useRef<(string | null)[]>([null, null])

  const order = useCallback(
    (index: number, order: Order): void => {
      const target = frames[index]?.current?.contentWindow
      const origin = origins[index]
      if (target && origin) send(target, origin, order)
    },
    [frames, origins],
  )

  const enterNew = useCallback(() => {
    account.current = makeAccount()
    localStorage.setItem(ACCOUNT_KEY, JSON.stringify(account.current))
    order(0, { do: 'sign-up', ...account.current })
  }, [order])

  useEffect(() => {
    const heard = (index: number, report: Report): void => {
      if (report.say === 'shown') {
        // One that still shows whoever was signed in before is not there yet.
        if (report.email !== account.current?.email) return
        latest.current = latest.current.map((before, at) => (at === index ? report.shown : before))
        setShown(latest.current)
        for (const look of [...waiting.current]) look()
        return
      }
      if (report.say === 'account') emails.current[index] = report.email
      // A server that does not know the account is another one than last time.
      if (report.say === 'refused' || (index === 0 && account.current === null)) return enterNew()
      const wanted = account.current
      if (!wanted) return
      const [first, second] = emails.current
      if (first !== wanted.email) return index === 0 ? order(0, { do: 'sign-in', ...wanted }) : undefined
      if (second !== wanted.email) order(1, { do: 'sign-in', ...wanted })
    }
    const stops = frames.map((frame, index) => listen<Report>([origins[index] ?? ''], () => frame.current?.contentWindow ?? null, (report) => heard(index, report)))
    return () => stops.forEach((stop) => stop())
  }, [frames, origins, order, enterNew])

  const until = useCallback((holds: (left: Shown, right: Shown) => boolean): Promise<boolean> => {
    return new Promise((resolve) => {
      const look = (): void => {
        const [one, other] = latest.current
        if (one && other && holds(one, other)) end(true)
      }
      const timer = setTimeout(() => end(false), LIMIT_MS)
      const end = (held: boolean): void => {
        clearTimeout(timer)
        waiting.current.delete(look)
        resolve(held)
      }
      waiting.current.add(look)
      look()
    })
  }, [])

  const startOver = useCallback(() => {
    latest.current = [null, null]
    setShown(latest.current)
    for (const index of [0, 1]) {
      order(index, { do: 'airplane', on: false })
      order(index, { do: 'go', steps: ['words'] })
    }
    enterNew()
  }, [order, enterNew])

  const now = useCallback((index: number) => latest.current[index] ?? null, [])

  return { frames, shown, now, order, until, startOver }
}
