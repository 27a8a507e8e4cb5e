// What a page knows of the mirrored tables: from the app's schema module at once, else from the one that leads.

import { MareaError } from './errors.js'
import type { Catalogue, CatalogueColumn, CatalogueTable } from './schema.js'

/** A table, with its columns by name. */
export interface KnownTable {
  name: string
  key: string
  owner: string | undefined
  columns: Map<string, CatalogueColumn>
}

type Tables = Map<string, KnownTable>

export class KnownCatalogue {
  readonly #ask: () => Promise<string | null>
  readonly #isGiven: boolean
  #tables: Tables | null = null
  #asking: Promise<Tables> | null = null

  /** `given` by the app; `ask` gives what the leader has learned. */
  constructor(given: Catalogue | undefined, ask: () => Promise<string | null>) {
    this.#isGiven = given !== undefined
    this.#ask = ask
    if (given) this.#tables = tablesOf(given)
    else this.refresh()
  }

  /** Runs `use` with the tables: at once when they are known, so that a page that is left can still note its write. */
  with<T>(names: string[], use: (tables: Tables) => Promise<T>): Promise<T> {
    const known = this.#tables
    if (known && (this.#isGiven || names.every((name) => known.has(name)))) return use(known)
    return this.#learn().then(use)
  }

  /** What was learned may be another by now. */
  refresh(): void {
    if (this.#isGiven) return
    // What is under way may have been asked too early.
    const underWay = this.#asking ?? Promise.resolve()
    void underWay.then(() => this.#learn()).catch(() => undefined)
  }

  #learn(): Promise<Tables> {
    this.#asking ??= this.#ask()
      .then((text) => (this.#tables = text === null ? new Map() : tablesOf(JSON.parse(text) as Catalogue)))
      .finally(() => (this.#asking = null))
    return this.#asking
  }
}

function tablesOf({ tables }: Catalogue): Tables {
  const known = ({ name, key, owner, columns }: CatalogueTable): KnownTable => ({ name, key, owner, columns: new Map(columns.map((column) => [column.name, column])) })
  return new Map(tables.map((table) => [table.name, known(table)]))
}

const EXPECTED = 'expected `schema` of the module that `npx marea-client schema` writes'

/** The app's catalogue as text. That it is one, the engine sees; here, that the right thing was handed in. */
export function schemaText(schema: unknown): string | null {
  if (schema === undefined) return null
  const isObject = typeof schema === 'object' && schema !== null
  if (isObject && 'schema' in schema) throw refuse('is the whole module; pass its `schema`')
  if (!isObject || !('tables' in schema) || !Array.isArray(schema.tables)) throw refuse(EXPECTED)
  try {
    tablesOf(schema as Catalogue)
    return JSON.stringify(schema)
  } catch {
    throw refuse(EXPECTED)
  }
}

const refuse = (problem: string): MareaError => new MareaError('invalid_input', `schema: ${problem}`, false)
