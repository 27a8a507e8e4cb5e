// What a browser has and Node has not: a listener that throws is an uncaught error of the program's.

export function reportError(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}
