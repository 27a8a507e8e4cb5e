// The hooks, typed by the schema module that is part of the program. Nothing here is run.

import { useQuery, useRow, useTable } from '@marea/client/react'

export function Stock(): string {
  const { data: rows, error, loading } = useTable('stock_items', { where: { state: 'new' }, order: ['-seen'] })
  const { data: one } = useRow('stock_items', 'k')
  const { data: counted } = useQuery<{ n: number }>('SELECT count(*) AS n FROM stock_items WHERE seen > ?1', [3])
  const all = useTable('places')
  const label: string | undefined = rows?.[0]?.label
  const seen: number | null | undefined = one?.seen
  const n: number | undefined = counted?.[0]?.n
  return [label, seen, n, error?.code, loading, all.data?.length].join()
}

export function Wrong(): string {
  // @ts-expect-error no such table
  useTable('stock')
  // @ts-expect-error not a column
  useTable('stock_items', { where: { colour: 'red' } })
  // @ts-expect-error keys are text
  useRow('stock_items', 5)
  // @ts-expect-error a number is expected
  return useRow('stock_items', 'k').data?.sizes.trim() ?? ''
}
