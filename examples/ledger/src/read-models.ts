import { projection } from 'headwater'
import { z } from 'zod'
import { account } from './account.ts'
import { transfer } from './transfer.ts'

const cents = z.int()

/**
 * What each account holds, and what came to it and left it from outside: in the same transaction as the event. With `transfers_in_progress`, which is
 * kept so too, one statement shows at any moment that no cent is lost.
 */
export const balances = projection('balances', {
  from: [account],
  row: z.object({
    account_id: z.uuid(),
    owner: z.string(),
    balance: cents,
    status: z.enum(['open', 'closed']),
    deposited: cents,
    withdrawn: cents,
  }),
  on: {
    AccountOpened: (_none, { stream, data: { owner } }) => ({
      account_id: stream,
      owner,
      balance: 0,
      status: 'open',
      deposited: 0,
      withdrawn: 0,
    }),
    MoneyDeposited: (row, { data }) => row && { ...row, balance: row.balance + data.amount, deposited: row.deposited + data.amount },
    MoneyWithdrawn: (row, { data }) => row && { ...row, balance: row.balance - data.amount, withdrawn: row.withdrawn + data.amount },
    TransferSent: (row, { data }) => row && { ...row, balance: row.balance - data.amount },
    TransferReceived: (row, { data }) => row && { ...row, balance: row.balance + data.amount },
    TransferReturned: (row, { data }) => row && { ...row, balance: row.balance + data.amount },
    AccountClosed: (row) => row && { ...row, status: 'closed' },
  },
  indexes: { byOwner: ['owner'] },
  update: 'sync',
})

/** Transfers that have not come to their end, and how much of each has left one account and not reached the other. */
export const transfersInProgress = projection('transfers_in_progress', {
  from: [account, transfer],
  key: (event) => ('transferId' in event.data ? event.data.transferId : event.aggregate === 'transfer' ? event.stream : []),
  row: z.object({ transfer_id: z.uuid(), sender: z.uuid(), receiver: z.uuid(), amount: cents, in_transit: cents }),
  on: {
    TransferRequested: (_none, { stream, data: { from, to, amount } }) => ({
      transfer_id: stream,
      sender: from,
      receiver: to,
      amount,
      in_transit: 0,
    }),
    TransferSent: (row, { data }) => row && { ...row, in_transit: data.amount },
    TransferReceived: (row) => row && { ...row, in_transit: 0 },
    TransferReturned: (row) => row && { ...row, in_transit: 0 },
    TransferCompleted: () => null,
    TransferRefunded: () => null,
  },
  update: 'sync',
})

/** How each transfer ended, or that it has not. */
export const transferStates = projection('transfer_states', {
  from: [transfer],
  row: z.object({ status: z.enum(['requested', 'completed', 'refunded']) }),
  on: {
    TransferRequested: () => ({ status: 'requested' }),
    TransferCompleted: () => ({ status: 'completed' }),
    TransferRefunded: () => ({ status: 'refunded' }),
  },
})

/** Open accounts by what they hold: an index, read from its end. */
export const richest = projection('richest', {
  from: [account],
  row: z.object({ account_id: z.uuid(), owner: z.string(), balance: cents }),
  on: {
    AccountOpened: (_none, { stream, data: { owner } }) => ({ account_id: stream, owner, balance: 0 }),
    MoneyDeposited: (row, { data: { balance } }) => row && { ...row, balance },
    MoneyWithdrawn: (row, { data: { balance } }) => row && { ...row, balance },
    TransferSent: (row, { data: { balance } }) => row && { ...row, balance },
    TransferReceived: (row, { data: { balance } }) => row && { ...row, balance },
    TransferReturned: (row, { data: { balance } }) => row && { ...row, balance },
    AccountClosed: () => null,
  },
  indexes: { byBalance: ['balance'] },
})
