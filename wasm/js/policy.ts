// What a page's policies keep Marea from, in words that say which line to add: Content-Security-Policy, Trusted Types, and the
// rule that a worker comes from the page's own origin.
//
// A browser tells the reason of a refusal in an event of its own, and the refused call mostly nothing.

import { MareaError } from './errors.js'

/** The refusals of a page or a worker, as far as they were heard of. */
export class Refusals {
  readonly #heard: SecurityPolicyViolationEvent[] = []

  /** Listens until `signal` is aborted. */
  constructor(scope: EventTarget, signal?: AbortSignal, heard?: () => void) {
    const listener = (event: Event): void => {
      this.#heard.push(event as SecurityPolicyViolationEvent)
      if (this.#heard.length > 20) this.#heard.shift()
      heard?.()
    }
    scope.addEventListener('securitypolicyviolation', listener, signal && { signal })
  }

  /** One under such a directive, of something that `fits`. */
  find(directive: string, fits: (blocked: string) => boolean): SecurityPolicyViolationEvent | undefined {
    return this.#heard.find((event) => event.effectiveDirective.startsWith(directive) && fits(event.blockedURI))
  }

  /** Whether the policy keeps requests from this server. */
  blocks(server: string): boolean {
    return this.find('connect-src', (blocked) => originOf(blocked) === originOf(server)) !== undefined
  }
}

function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : url
}

function failure(message: string): MareaError {
  return new MareaError('worker_failed', message, true)
}

const NOT_STARTED =
  "Marea's worker could not be started. Check that worker.js and marea_wasm_bg.wasm are served beside the app, and that its " +
  "Content-Security-Policy allows worker-src 'self' and script-src 'wasm-unsafe-eval'."

const add = (line: string): string => `Add to the Content-Security-Policy: ${line}`

/** Why `new Worker` threw. */
export function workerRefused(cause: unknown): MareaError {
  // `location.origin` would say where the frame was loaded from.
  if (globalThis.origin === 'null') {
    return failure(
      "This frame has an origin of its own (null), from which no worker can be started and nothing is kept: add " +
        "allow-same-origin to the frame's sandbox attribute, or open Marea with storage: 'memory'.",
    )
  }
  if (cause instanceof TypeError && 'trustedTypes' in globalThis) {
    return failure(
      "This page requires Trusted Types, so Marea's worker needs a policy: pass its name as the option trustedTypesPolicy. " +
        add('trusted-types NAME'),
    )
  }
  if (!(cause instanceof DOMException) || cause.name !== 'SecurityError') return failure(NOT_STARTED)
  const from = /https?:\/\/[^/'"\s]+/.exec(cause.message)?.[0]
  return failure(
    `Marea's worker cannot be started from ${from ?? 'another origin'}: a worker has to come from the page's own origin, ` +
      `${location.origin}. Serve worker.js and marea_wasm_bg.wasm from there, and pass the address of worker.js as workerUrl.`,
  )
}

/** Why a policy of Trusted Types could not be made. */
export function typesRefused(name: string): MareaError {
  return failure(
    `This page does not allow the Trusted Types policy ${name}, or has made it already. ${add(`trusted-types ${name}`)}`,
  )
}

/** Why a worker ended before it said anything. */
export function workerUnheard(refusals: Refusals): MareaError {
  const refused = refusals.find('worker-src', () => true)
  if (refused) {
    const blob = refused.blockedURI.startsWith('blob') ? ' blob:' : ''
    return failure(`This page's policy forbids Marea's worker. ${add(`worker-src 'self'${blob}`)}`)
  }
  return failure(NOT_STARTED)
}

/** The policy for which the module could not be had; null when it was none. */
export function moduleRefused(cause: unknown, refusals: Refusals): MareaError | null {
  const said = cause instanceof Error ? cause.message : ''
  if (refusals.find('script-src', (blocked) => blocked.includes('eval')) || /unsafe-eval|blocked by CSP/i.test(said)) {
    return failure(`This page's policy forbids WebAssembly. ${add("script-src 'self' 'wasm-unsafe-eval'")}`)
  }
  const fetched = refusals.find('connect-src', (blocked) => blocked.includes('.wasm'))
  if (fetched) {
    return failure(`This page's policy forbids to load the module. ${add(`connect-src ${originOf(fetched.blockedURI)}`)}`)
  }
  return null
}

/** What stands in the status where a policy, not a network, keeps requests from the server. */
export function serverRefused(server: string): { code: string; message: string } {
  const message = `The policy of this page or of worker.js forbids requests to the server. ${add(`connect-src ${originOf(server)}`)}`
  return { code: 'policy_blocked', message }
}
