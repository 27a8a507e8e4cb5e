// The one server that is worth imitating: one that refuses. What a real one makes of a write is told by a real one: `startBackend`.

import type { ServerRequest, TestServer } from './network.js'

interface Sent {
  request: { mutations: { id: string; table: string; op: string }[] }
}

/**
 * A server for `network.serve` that refuses every write, as Postgres does for a constraint or a policy: the writes are in `rejected()`
 * then, with this code (an SQLSTATE) and message.
 */
export function refusingServer(code: string, message: string): TestServer {
  return ({ body, time }: ServerRequest) => ({
    status: 200,
    body: {
      protocol: 1,
      server_time: time.toISOString().replace('Z', '000Z'),
      reset: false,
      results: (body as Sent).request.mutations.map(({ id }) => ({ id, status: 'rejected', code, message })),
      rows: {},
      deleted: {},
      cursor: { version: 1, epoch: 'refusing' },
      has_more: false,
    },
  })
}
