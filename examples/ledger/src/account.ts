import { aggregate, reject } from 'headwater'
import { z } from 'zod'

interface Account {
  readonly status: 'none' | 'open' | 'closed'
  readonly balance: number
  /** Transfers that left this account and have neither arrived nor come back. */
  readonly sending: readonly string[]
}

const id = z.uuid()
const cents = z.int().positive().max(100_000_000_000)
/** What the account holds after the event: a statement shows it on each line. */
const balance = z.int().nonnegative()

/**
 * An account. Money that is on its way from one to another has left the first (`TransferSent`) and not reached the second (`TransferReceived`); what cannot
 * arrive comes back (`TransferReturned`). An account that cannot do its part says so in an event, so that the transfer can go on from there.
 */
export const account = aggregate('account', {
  events: {
    AccountOpened: z.object({ owner: z.string() }),
    MoneyDeposited: z.object({ amount: cents, balance }),
    MoneyWithdrawn: z.object({ amount: cents, balance }),
    TransferSent: z.object({ transferId: id, to: id, amount: cents, balance }),
    TransferNotSent: z.object({ transferId: id, reason: z.enum(['account_not_open', 'insufficient_funds']) }),
    TransferReceived: z.object({ transferId: id, from: id, amount: cents, balance }),
    TransferNotReceived: z.object({ transferId: id, from: id, amount: cents }),
    TransferDelivered: z.object({ transferId: id }),
    TransferReturned: z.object({ transferId: id, amount: cents, balance }),
    AccountClosed: z.object({}),
  },
  initialState: (): Account => ({ status: 'none', balance: 0, sending: [] }),
  evolve: {
    AccountOpened: (state) => ({ ...state, status: 'open' }),
    MoneyDeposited: (state, { balance }) => ({ ...state, balance }),
    MoneyWithdrawn: (state, { balance }) => ({ ...state, balance }),
    TransferSent: (state, { transferId, balance }) => ({ ...state, balance, sending: [...state.sending, transferId] }),
    TransferNotSent: (state) => state,
    TransferReceived: (state, { balance }) => ({ ...state, balance }),
    TransferNotReceived: (state) => state,
    TransferDelivered: (state, { transferId }) => ({ ...state, sending: without(state.sending, transferId) }),
    TransferReturned: (state, { transferId, balance }) => ({ ...state, balance, sending: without(state.sending, transferId) }),
    AccountClosed: (state) => ({ ...state, status: 'closed' }),
  },
  snapshot: { every: 200 },
})

function without(ids: readonly string[], gone: string): readonly string[] {
  return ids.filter((one) => one !== gone)
}

const stream = ({ accountId }: { readonly accountId: string }) => accountId

export const openAccount = account.command('openAccount', {
  input: z.object({ accountId: id, owner: z.string().min(1).max(50).regex(/\S/, 'is blank') }),
  stream,
  decide({ status }, { accountId, owner }, { events }) {
    if (status !== 'none') return reject('already_exists', { accountId })
    return [events.AccountOpened({ owner })]
  },
})

export const deposit = account.command('deposit', {
  input: z.object({ accountId: id, amount: cents }),
  stream,
  decide({ status, balance }, { accountId, amount }, { events }) {
    if (status !== 'open') return reject('account_not_open', { accountId })
    return [events.MoneyDeposited({ amount, balance: balance + amount })]
  },
})

export const withdraw = account.command('withdraw', {
  input: z.object({ accountId: id, amount: cents }),
  stream,
  decide({ status, balance }, { accountId, amount }, { events }) {
    if (status !== 'open') return reject('account_not_open', { accountId })
    if (amount > balance) return reject('insufficient_funds', { accountId, balance })
    return [events.MoneyWithdrawn({ amount, balance: balance - amount })]
  },
})

/** Also refused while money of this account is on its way: it might come back. */
export const closeAccount = account.command('closeAccount', {
  input: z.object({ accountId: id }),
  stream,
  decide({ status, balance, sending }, { accountId }, { events }) {
    if (status !== 'open') return reject('account_not_open', { accountId })
    if (balance > 0 || sending.length > 0) return reject('balance_not_zero', { accountId, balance, inTransfer: sending.length })
    return [events.AccountClosed({})]
  },
})
