// What TanStack DB asks of a collection's options, as far as it is used here: the package does not depend on it, and a test app's
// compiler holds these against the real ones.

/** A change of a collection that TanStack DB hands on. */
export interface CollectionMutation {
  readonly type: 'insert' | 'update' | 'delete'
  readonly key: unknown
  readonly original: object
  readonly changes: object
  readonly collection: object
}

export interface CollectionTransaction {
  readonly transaction: { readonly mutations: readonly CollectionMutation[] }
}

/** What writes rows into a collection. */
export interface CollectionSync<R extends object> {
  begin(): void
  write(message: { type: 'insert' | 'update'; value: R } | { type: 'delete'; key: string }): void
  commit(): unknown
  markReady(): void
  markError(error?: unknown): void
}

/** What `createCollection` takes. */
export interface MareaCollectionConfig<R extends object, I extends object> {
  id: string
  getKey(row: R): string
  /** Fills in what an insert leaves out: the key, and null for what the server fills in. */
  schema: RowSchema<R, I>
  sync: { sync(sync: CollectionSync<R>): () => void; rowUpdateMode: 'full' }
  onInsert(given: CollectionTransaction): Promise<void>
  onUpdate(given: CollectionTransaction): Promise<void>
  onDelete(given: CollectionTransaction): Promise<void>
}

/** As https://standardschema.dev has it. */
export interface RowSchema<R, I> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: 'marea'
    validate(value: unknown): { readonly value: R }
    readonly types?: { readonly input: I; readonly output: R }
  }
}
