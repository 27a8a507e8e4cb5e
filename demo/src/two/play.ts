// What the two devices are made to do, so that a visitor sees it in ten seconds. All of it is done by the app in the frames, as
// by a person; this page only asks, and waits until the devices show it.

import type { Shown } from '../remote'
import type { Devices } from './useDevices'

export type Step = 'ready' | 'offline' | 'work' | 'online' | 'told' | 'fetch' | 'end' | 'failed'

export const agree = (left: Shown, right: Shown): boolean =>
  left.sessions === right.sessions && left.minutes === right.minutes && left.words === right.words && left.pending + right.pending === 0

const readingTime = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1600))

export async function play(devices: Devices, say: (step: Step) => void): Promise<void> {
  const { order, until } = devices
  const both = (make: (index: number) => Parameters<typeof order>[1]): void => [0, 1].forEach((index) => order(index, make(index)))
  const step = async (name: Step, holds: (left: Shown, right: Shown) => boolean): Promise<boolean> => {
    say(name)
    const [held] = await Promise.all([until(holds), readingTime()])
    return held
  }

  both(() => ({ do: 'airplane', on: true }))
  both(() => ({ do: 'go', steps: ['words'] }))
  if (!(await step('offline', (left, right) => left.airplane && right.airplane))) return say('failed')

  const before = (devices.now(0)?.sessions ?? 0) + (devices.now(1)?.sessions ?? 0)
  order(0, { do: 'collect', picture: 'harbour', words: [0, 1, 2] })
  order(1, { do: 'collect', picture: 'harbour', words: [0] })
  order(1, { do: 'collect', picture: 'kitchen', words: [0, 3] })
  order(0, { do: 'practise', minutes: 10, questions: 8, correct: 7 })
  order(1, { do: 'practise', minutes: 5, questions: 4, correct: 4 })
  if (!(await step('work', (one, other) => one.sessions + other.sessions === before + 2 && one.pending > 0 && other.pending > 0))) return say('failed')

  both(() => ({ do: 'airplane', on: false }))
  const sent = until((one, other) => one.pending + other.pending === 0)
  // Each sends its own and gets the other's; the first one to come back needs a second look, where nobody tells it.
  void sent.then(() => both(() => ({ do: 'sync' })))
  if (!(await step('online', agree))) return say('failed')

  const { words = 0, awake = false } = devices.now(1) ?? {}
  order(0, { do: 'collect', picture: 'market', words: [1, 2] })
  if (!awake) void until((one) => one.words > words && one.pending === 0).then(() => order(1, { do: 'sync' }))
  if (!(await step(awake ? 'told' : 'fetch', (one, other) => other.words > words && agree(one, other)))) return say('failed')
  say('end')
}
