import { aggregate, reject } from 'headwater'
import { z } from 'zod'

interface Transfer {
  readonly status: 'none' | 'requested' | 'completed' | 'refunded'
}

const id = z.uuid()
const cents = z.int().positive().max(100_000_000_000)

/** A transfer between two accounts, from the wish to its end. What moves the money are the accounts' own events: see `reactions.ts`. */
export const transfer = aggregate('transfer', {
  events: {
    TransferRequested: z.object({ from: id, to: id, amount: cents }),
    TransferCompleted: z.object({}),
    TransferRefunded: z.object({}),
  },
  initialState: (): Transfer => ({ status: 'none' }),
  evolve: {
    TransferRequested: () => ({ status: 'requested' }),
    TransferCompleted: () => ({ status: 'completed' }),
    TransferRefunded: () => ({ status: 'refunded' }),
  },
})

/** Answers when the transfer is requested. It ends `completed`, or `refunded` when the one account cannot pay or the other cannot be paid. */
export const requestTransfer = transfer.command('transfer', {
  input: z
    .object({ transferId: id, from: id, to: id, amount: cents })
    .refine(({ from, to }) => from !== to, { message: 'is the account it comes from', path: ['to'] }),
  stream: ({ transferId }) => transferId,
  decide({ status }, { transferId, from, to, amount }, { events }) {
    if (status !== 'none') return reject('already_exists', { transferId })
    return [events.TransferRequested({ from, to, amount })]
  },
})
