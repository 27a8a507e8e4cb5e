// A tab's worker host: the worker that may come to lead for it.
//
// A host's worker waits for the lock, or leads. Ending the host ends the worker at once, which
// frees the lock and the mirror's files: all that was acknowledged is durable, and what was not is asked again elsewhere.

import { MareaError, stoppedError } from './errors.js'
import { Refusals, typesRefused, workerRefused, workerUnheard } from './policy.js'
import type { FromHost, ToHost } from './protocol.js'

/** Something that may come to lead for this tab. */
export interface WorkerHost {
  post(message: ToHost): void
  /** Ends it, now. It says nothing more. */
  end(): void
}

export interface HostEvents {
  receive(message: FromHost): void
  /** It ended by itself and will not come back; `stopped`: in the middle of its work, by a fault. */
  broken(reason: MareaError, stopped: boolean): void
  /** Some of what it needs has come. */
  loading(): void
}

/** How the worker is made, where a bundler's way will not do. */
export interface WorkerOptions {
  workerUrl?: string | URL | undefined
  trustedTypesPolicy?: string | undefined
}

/** A worker of this tab's own. Throws where none can be made. */
export function startWorkerHost(events: HostEvents, options: WorkerOptions = {}): WorkerHost {
  const over = new AbortController()
  const refusals = new Refusals(document, over.signal)
  let worker: Worker
  try {
    worker = makeWorker(options)
  } catch (error) {
    over.abort()
    throw error instanceof MareaError ? error : workerRefused(error)
  }
  let heard = false
  const end = (): void => {
    over.abort()
    worker.terminate()
  }
  const fail = (stopped: boolean): void => {
    if (over.signal.aborted) return
    const reason = stopped ? stoppedError() : workerUnheard(refusals)
    end()
    events.broken(reason, stopped)
  }
  worker.addEventListener('message', (event: MessageEvent<FromHost>) => {
    heard = true
    if (!over.signal.aborted) events.receive(event.data)
  })
  worker.addEventListener('error', (event) => {
    const stopped = heard || /RuntimeError/.test(event.message ?? '')
    // A policy's own event may come after this one.
    setTimeout(() => fail(stopped))
  })
  worker.addEventListener('messageerror', () => fail(true))
  return { post: (message) => worker.postMessage(message), end }
}

function makeWorker({ workerUrl, trustedTypesPolicy }: WorkerOptions): Worker {
  const policy = trustedTypesPolicy ? policyOf(trustedTypesPolicy) : null
  const trusted = (url: string | URL): string => (policy?.createScriptURL(String(url)) ?? String(url)) as string
  if (workerUrl) return new Worker(trusted(workerUrl), { type: 'module', name: 'marea' })
  const Plain = globalThis.Worker
  // A bundler finds the worker only as it is written below, and leaves no place for the policy there.
  if (policy) {
    globalThis.Worker = class extends Plain {
      constructor(url: string | URL, options?: ConstructorParameters<typeof Worker>[1]) {
        super(trusted(url), options)
      }
    }
  }
  try {
    // Written out in one expression, because that is the form that bundlers look for.
    return new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'marea' })
  } finally {
    globalThis.Worker = Plain
  }
}

interface TypesPolicy {
  createScriptURL(url: string): unknown
}
interface TypesFactory {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): TypesPolicy
}

const policies = new Map<string, TypesPolicy>()

/** A policy can be made once in a page. */
function policyOf(name: string): TypesPolicy | null {
  const { trustedTypes } = globalThis as { trustedTypes?: TypesFactory }
  if (!trustedTypes) return null
  const known = policies.get(name)
  if (known) return known
  try {
    const made = trustedTypes.createPolicy(name, { createScriptURL: (url) => url })
    policies.set(name, made)
    return made
  } catch {
    throw typesRefused(name)
  }
}
