// The app's own airplane mode, kept for the next start.

import { useState } from 'react'
import { keep, readKept } from './device'

const KEY = 'airplane'

export function useAirplane(): [on: boolean, set: (on: boolean) => void] {
  const [airplane, setAirplane] = useState(() => readKept(KEY) === 'on')
  const set = (on: boolean): void => {
    keep(KEY, on ? 'on' : 'off')
    setAirplane(on)
  }
  return [airplane, set]
}
