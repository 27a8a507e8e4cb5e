// All of what a mirror gives in pages.

import type { Marea } from '../marea.js'
import type { MirroredTable } from '../table.js'
import type { Export, ExportPage } from '../types.js'
import type { Row } from '../writers.js'

const EXPORTS = 500
const ROWS = 1_000
// So often a page that cannot be gone on from (its last row was deleted meanwhile) makes the reading begin again.
const ATTEMPTS = 5

export async function readExports(marea: Pick<Marea, 'exports'>): Promise<Export[]> {
  const all: Export[] = []
  let after: ExportPage['next']
  do {
    const page: ExportPage = await marea.exports({ limit: EXPORTS, ...(after && { after }) })
    all.push(...page.exports)
    after = page.next
  } while (after)
  return all
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any
export async function readTable(table: MirroredTable<any>, key: string): Promise<Row[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await readPages(table, key)
    } catch (error) {
      const isGone = error instanceof Error && 'code' in error && error.code === 'invalid_input'
      if (!isGone || attempt === ATTEMPTS) throw error
    }
  }
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any
async function readPages(table: MirroredTable<any>, key: string): Promise<Row[]> {
  const all: Row[] = []
  for (;;) {
    const last = all.at(-1)
    const page = (await table.list({ limit: ROWS, ...(last && { after: String(last[key]) }) })) as Row[]
    all.push(...page)
    if (page.length < ROWS) return all
  }
}
