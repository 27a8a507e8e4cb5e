// The name, with its two waves.

export function Wordmark() {
  return (
    <span className="wordmark">
      <svg viewBox="0 0 32 32" aria-hidden="true">
        <path d="M4 14c4 0 4-4 8-4s4 4 8 4 4-3 8-4M4 22c4 0 4-4 8-4s4 4 8 4 4-3 8-4" />
      </svg>
      marea
    </span>
  )
}
