// The name, with its mark: two waves.

export function Wordmark() {
  return (
    <span className="wordmark">
      <svg viewBox="0 0 32 32" aria-hidden="true">
        <rect width="32" height="32" rx="9" />
        <path d="M6 15c3.3 0 3.3-3.5 6.7-3.5S16 15 19.3 15s3.3-3.5 6.7-3.5M6 21.5c3.3 0 3.3-3.5 6.7-3.5s3.3 3.5 6.6 3.5 3.3-3.5 6.7-3.5" />
      </svg>
      <span>marea</span>
    </span>
  )
}
