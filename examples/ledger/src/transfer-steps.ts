import { z } from 'zod'
import { account } from './account.ts'
import { transfer } from './transfer.ts'

/*
 * The steps of a transfer. Reactions send these commands and nobody else may: they are not among what is served. None of them refuses, for whoever waits
 * for an answer waits for an event.
 */

const id = z.uuid()
const amount = z.int().positive()
const ofAccount = ({ accountId }: { readonly accountId: string }) => accountId
const ofTransfer = ({ transferId }: { readonly transferId: string }) => transferId

export const sendTransfer = account.command('sendTransfer', {
  input: z.object({ accountId: id, transferId: id, to: id, amount }),
  stream: ofAccount,
  decide({ status, balance }, { transferId, to, amount }, { events }) {
    if (status !== 'open') return [events.TransferNotSent({ transferId, reason: 'account_not_open' })]
    if (amount > balance) return [events.TransferNotSent({ transferId, reason: 'insufficient_funds' })]
    return [events.TransferSent({ transferId, to, amount, balance: balance - amount })]
  },
})

export const receiveTransfer = account.command('receiveTransfer', {
  input: z.object({ accountId: id, transferId: id, from: id, amount }),
  stream: ofAccount,
  decide({ status, balance }, { transferId, from, amount }, { events }) {
    if (status !== 'open') return [events.TransferNotReceived({ transferId, from, amount })]
    return [events.TransferReceived({ transferId, from, amount, balance: balance + amount })]
  },
})

/** Tells the sender that the money has arrived, so that nothing can come back any more. */
export const deliverTransfer = account.command('deliverTransfer', {
  input: z.object({ accountId: id, transferId: id }),
  stream: ofAccount,
  decide: (_state, { transferId }, { events }) => [events.TransferDelivered({ transferId })],
})

/** The sender cannot be closed before this: it keeps account of what it has sent. */
export const returnTransfer = account.command('returnTransfer', {
  input: z.object({ accountId: id, transferId: id, amount }),
  stream: ofAccount,
  decide: ({ balance }, { transferId, amount }, { events }) => [events.TransferReturned({ transferId, amount, balance: balance + amount })],
})

export const completeTransfer = transfer.command('completeTransfer', {
  input: z.object({ transferId: id }),
  stream: ofTransfer,
  decide: ({ status }, _input, { events }) => (status === 'requested' ? [events.TransferCompleted({})] : []),
})

export const refundTransfer = transfer.command('refundTransfer', {
  input: z.object({ transferId: id }),
  stream: ofTransfer,
  decide: ({ status }, _input, { events }) => (status === 'requested' ? [events.TransferRefunded({})] : []),
})
