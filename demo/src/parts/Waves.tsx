// The sea behind the head of the page. It stands high when everything is sent, and low when something waits.

import type { Tide } from '../words'

// Two periods of the same curve, so that a shift by half its width ends where it began.
const CURVE = 'M0 40 C 150 10 350 70 600 40 S 1050 10 1200 40 S 1650 70 1800 40 S 2250 10 2400 40 V 200 H 0 Z'

export function Waves({ level }: { level: Tide['level'] }) {
  return (
    <div className="waves" data-level={level} aria-hidden="true">
      {[1, 2, 3].map((layer) => (
        <svg key={layer} className={`wave wave-${layer}`} viewBox="0 0 2400 200" preserveAspectRatio="none">
          <path d={CURVE} />
        </svg>
      ))}
    </div>
  )
}
