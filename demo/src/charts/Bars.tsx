// Bars beside each other, each with its own words for those who do not see it, and a line for what is aimed at.

export interface Bar {
  key: string
  /** Below the bar. */
  name: string
  value: number
  /** All of it in words. */
  text: string
  marked?: boolean
}

// Below this, a single small value would fill the chart and look like a great one.
const SMALLEST_SCALE = 10

export function Bars({ bars, line, low = false }: { bars: readonly Bar[]; line?: number; low?: boolean }) {
  const scale = Math.max(SMALLEST_SCALE, (line ?? 0) * 1.25, ...bars.map((bar) => bar.value))
  return (
    <div className="bars" data-low={low || undefined}>
      {line !== undefined && <span className="bars-line" aria-hidden="true" style={{ bottom: `calc(1.75rem + (100% - 1.75rem) * ${line / scale})` }} />}
      <ol>
        {bars.map((bar) => (
          <li key={bar.key} title={bar.text} data-marked={bar.marked || undefined} data-full={(line !== undefined && bar.value >= line) || undefined}>
            <span className="rod" aria-hidden="true">
              <span style={{ height: `${(100 * bar.value) / scale}%` }} data-some={bar.value > 0 || undefined} />
            </span>
            <span className="bar-name" aria-hidden="true">
              {bar.name}
            </span>
            <span className="unseen">{bar.text}</span>
          </li>
        ))}
      </ol>
    </div>
  )
}
