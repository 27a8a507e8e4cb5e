'use client'
// React's face of the package: one provider, and a hook for each thing that an app shows.
//
// Nothing here decides anything or keeps a copy of anything: a hook follows a `watch*` of the open mirror. The line
// above lets a server component of React import it.

export { MareaProvider } from './provider.js'
export type { MareaProviderProps } from './provider.js'
export { useMarea } from './context.js'
export type { MareaHandle } from './context.js'
export { useActivity, useApiKeys, useExports, useFiles, useProgress, useQuery, useQueue, useRow, useSyncStatus, useTable } from './hooks.js'
export type { ActivityRange } from '../activity.js'
export type { Live } from './live.js'
export type { MareaSource, MareaState } from '../connection.js'
