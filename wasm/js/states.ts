// What an attempt to sync may meet that is no error.

/** The network is away or in the way, as `OFFLINE_CODES` in core/src/sync/failure.rs has it, or no token can be had now. All pass by themselves. */
export const STATES = [
  ...['offline', 'dns_failed', 'connection_refused', 'connection_lost', 'tls_failed', 'captive_portal', 'timeout', 'unintelligible_answer'],
  'token_unavailable',
]
