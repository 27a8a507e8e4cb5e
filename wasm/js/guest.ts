// How a guest's work comes into an account: three steps, each of which may be repeated. What is interrupted is ended by the next
// call (docs/adr/0132-a-guest-is-a-user-without-a-server.md).

import type { Access } from './access.js'
import type { Claimed } from './types.js'

/** Hands over what the guest's mirror holds, and closes it in this tab. */
export async function carryOver(guest: Access, account: Access): Promise<Claimed> {
  try {
    const handover = await guest.call('handOver', account.userId)
    const claimed = await account.call('takeOver', handover)
    await guest.call('handedOver', handover)
    return claimed
  } finally {
    await guest.leave()
  }
}
