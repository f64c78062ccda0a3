import { projection } from 'headwater'
import { z } from 'zod'
import { account } from './account.ts'

const cents = z.int()

const line = z.object({
  time: z.string(),
  kind: z.enum(['deposit', 'withdrawal', 'transfer_in', 'transfer_out', 'refund']),
  amount: cents,
  balance: cents,
})
type Line = z.infer<typeof line>

const statement = z.object({ account_id: z.uuid(), month: z.string(), opening: cents, closing: cents, lines: z.array(line) })
type Statement = z.infer<typeof statement>

/** One document for each account and month: a statement, ready to be printed. */
export const statements = projection('statements', {
  from: [account],
  key: (event) => ({ account: event.stream, month: event.time.slice(0, 7) }),
  row: statement,
  on: {
    AccountOpened: (row, event) => row ?? { account_id: event.stream, month: event.time.slice(0, 7), opening: 0, closing: 0, lines: [] },
    MoneyDeposited: (row, event) => withLine(row, event, 'deposit', event.data.balance - event.data.amount),
    MoneyWithdrawn: (row, event) => withLine(row, event, 'withdrawal', event.data.balance + event.data.amount),
    TransferSent: (row, event) => withLine(row, event, 'transfer_out', event.data.balance + event.data.amount),
    TransferReceived: (row, event) => withLine(row, event, 'transfer_in', event.data.balance - event.data.amount),
    TransferReturned: (row, event) => withLine(row, event, 'refund', event.data.balance - event.data.amount),
  },
  indexes: { byAccount: ['account_id', 'month'] },
})

/** The month's first line tells what the account held when the month began: the balance before it. */
function withLine(
  row: (Readonly<Omit<Statement, 'lines'>> & { readonly lines: readonly Readonly<Line>[] }) | undefined,
  {
    stream,
    time,
    data,
  }: { readonly stream: string; readonly time: string; readonly data: { readonly amount: number; readonly balance: number } },
  kind: Line['kind'],
  before: number,
): Readonly<Omit<Statement, 'lines'>> & { readonly lines: readonly Readonly<Line>[] } {
  const { amount, balance } = data
  return {
    account_id: stream,
    month: time.slice(0, 7),
    opening: row?.opening ?? before,
    closing: balance,
    lines: [...(row?.lines ?? []), { time, kind, amount, balance }],
  }
}
