import { aggregate, reject } from 'headwater'
import { z } from 'zod'

export interface Account {
  readonly status: 'none' | 'open' | 'closed'
  readonly owner: string
  readonly balance: number
}

/** An account of the ledger, small, for tests of aggregates. */
export const account = aggregate('account', {
  events: {
    AccountOpened: z.object({ owner: z.string() }),
    MoneyDeposited: z.object({ amount: z.int().positive(), note: z.string().default('') }),
    MoneyWithdrawn: z.object({ amount: z.int().positive() }),
    AccountClosed: z.object({}),
  },
  initialState: (): Account => ({ status: 'none', owner: '', balance: 0 }),
  evolve: {
    AccountOpened: (state, { owner }) => ({ ...state, status: 'open', owner }),
    MoneyDeposited: (state, { amount }) => ({ ...state, balance: state.balance + amount }),
    MoneyWithdrawn: (state, { amount }) => ({ ...state, balance: state.balance - amount }),
    AccountClosed: (state) => ({ ...state, status: 'closed' }),
  },
})

const accountId = z.string()
const amount = z.int().positive()
const stream = ({ accountId }: { readonly accountId: string }) => accountId

export const openAccount = account.command('openAccount', {
  input: z.object({ accountId, owner: z.string() }),
  stream,
  decide: (state, { owner }, { events }) => (state.status === 'none' ? [events.AccountOpened({ owner })] : reject('already_open')),
})

export const deposit = account.command('deposit', {
  input: z.object({ accountId, amount }),
  stream,
  decide(state, input, { events }) {
    if (state.status !== 'open') return reject('account_not_open', { status: state.status })
    return [events.MoneyDeposited({ amount: input.amount })]
  },
})

export const withdraw = account.command('withdraw', {
  input: z.object({ accountId, amount }),
  stream,
  decide(state, input, { events }) {
    if (state.balance < input.amount) throw reject('insufficient_funds', { balance: state.balance })
    return [events.MoneyWithdrawn({ amount: input.amount })]
  },
})

/** Closing what is closed is nothing to do. */
export const closeAccount = account.command('closeAccount', {
  input: z.object({ accountId }),
  stream,
  decide: (state, _input, { events }) => (state.status === 'closed' ? [] : [events.AccountClosed({})]),
})
