// A storeroom: what lies there, counted by several people at once, some of them in a cellar without a network.

import { useMarea, useQuery, useTable } from '@marea/client/react'
import { useState } from 'react'
import { start } from './start'

function Stock() {
  const { marea } = useMarea()
  const { data: items, error } = useTable('stock_parts', { order: ['name'] })
  const { data: worth } = useQuery<{ worth: number | null }>('SELECT sum(price * quantity) AS worth FROM stock_parts')
  const [failure, setFailure] = useState('')
  const parts = marea?.table('stock_parts')
  const [cup] = items ?? []
  const receive = () =>
    marea?.batch((tx) => {
      tx.table('stock_places').insert({ code: 'CELLAR-1', label: 'Cellar' })
      tx.table('stock_parts').insert({ place: 'CELLAR-1', name: 'Cup', price: 2.5, quantity: 10, photo: new Uint8Array([1, 2, 3]), serials: [7, null] })
    })
  const told = (work: Promise<unknown> | undefined) => void work?.then(() => setFailure(''), ({ message }: Error) => setFailure(message))
  return (
    <>
      <output id="items">{items?.map(({ place, name, quantity }) => `${place} ${name} ${quantity}`).join(', ')}</output>
      <output id="worth">{worth?.[0]?.worth}</output>
      <output id="failure">{error?.message ?? failure}</output>
      <button id="receive" onClick={() => told(receive())}>
        Receive
      </button>
      <button id="take" onClick={() => told(cup && parts?.add(cup.id, { quantity: -3 }))}>
        Take three
      </button>
      <button id="count" onClick={() => told(cup && parts?.update(cup.id, { name: 'Cup, counted', lastSeen: '2026-11-23T12:00:00' }))}>
        Counted
      </button>
      <button id="wrong" onClick={() => told(cup && parts?.update(cup.id, { name: 'x\u0000' }))}>
        A character that Postgres has not
      </button>
    </>
  )
}

start(<Stock />)
