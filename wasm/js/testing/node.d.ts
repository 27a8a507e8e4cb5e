// What of Node's modules is used here, and no more: the package depends on no types of Node's.

declare module 'node:child_process' {
  interface Output {
    setEncoding(encoding: 'utf8'): Output
    on(event: 'data', listener: (text: string) => void): Output
  }
  export interface Child {
    readonly stdout: Output
    readonly stderr: Output
    kill(signal: 'SIGTERM'): boolean
    once(event: 'close', listener: (code: number | null) => void): Child
    once(event: 'error', listener: (error: Error) => void): Child
  }
  export function spawn(program: string, args: string[], options: { stdio: ['ignore', 'pipe', 'pipe'] }): Child
}
declare module 'node:crypto' {
  export const webcrypto: Crypto
  export function randomUUID(): string
}
declare module 'node:fs' {
  export function existsSync(path: string): boolean
  export function readFileSync(path: string): Uint8Array<ArrayBuffer>
}
interface Answered {
  readonly statusCode?: number
  readonly headers: Record<string, string | string[] | undefined>
  on(event: 'data', listener: (chunk: Uint8Array) => void): void
  on(event: 'end', listener: () => void): void
  on(event: 'error', listener: (error: Error) => void): void
}
interface Requested {
  end(body?: Uint8Array | string): void
  destroy(): void
  on(event: 'error', listener: (error: Error) => void): void
}
interface RequestOptions {
  method: string
  headers: Record<string, string>
  agent?: false
}
declare module 'node:http' {
  export function request(url: string, options: RequestOptions, answered: (answer: Answered) => void): Requested
}
declare module 'node:https' {
  export function request(url: string, options: RequestOptions, answered: (answer: Answered) => void): Requested
}
declare module 'node:module' {
  export function createRequire(url: string): (name: string) => unknown
}
declare module 'node:path' {
  export const delimiter: string
  export function dirname(path: string): string
  export function join(...parts: string[]): string
  export function resolve(path: string): string
}
declare module 'node:perf_hooks' {
  export const performance: { now(): number }
}
declare module 'node:process' {
  interface Process {
    readonly arch: string
    readonly env: Record<string, string | undefined>
    readonly platform: string
    cwd(): string
    once(event: 'exit', listener: () => void): void
    off(event: 'exit', listener: () => void): void
  }
  const process: Process
  export default process
}
declare module 'node:timers' {
  export interface Handle {
    unref(): void
  }
  interface Timers {
    setTimeout(call: () => void, ms: number): Handle
    setInterval(call: () => void, ms: number): Handle
    clearInterval(handle: Handle): void
    clearTimeout(handle: Handle | null): void
    setImmediate(call: () => void): void
  }
  const timers: Timers
  export default timers
}
declare module 'node:url' {
  export function fileURLToPath(url: string): string
}
declare module 'node:util' {
  export const TextDecoder: typeof globalThis.TextDecoder
  export const TextEncoder: typeof globalThis.TextEncoder
}
