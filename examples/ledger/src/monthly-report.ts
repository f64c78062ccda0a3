import { projection } from 'headwater'
import { z } from 'zod'
import { account } from './account.ts'

const report = z.object({ month: z.string(), deposits: z.int(), withdrawals: z.int(), transfers: z.int(), accounts: z.int() })
type Report = Readonly<z.infer<typeof report>>

/** What was paid in, paid out and moved in a month, in cents, and how many accounts were opened: one row a month, folded from everything. */
export const monthlyReports = projection('monthly_report', {
  from: [account],
  key: (event) => event.time.slice(0, 7),
  row: report,
  on: {
    AccountOpened: (row, _event, month) => added(row, month, { accounts: 1 }),
    MoneyDeposited: (row, { data }, month) => added(row, month, { deposits: data.amount }),
    MoneyWithdrawn: (row, { data }, month) => added(row, month, { withdrawals: data.amount }),
    TransferReceived: (row, { data }, month) => added(row, month, { transfers: data.amount }),
  },
})

function added(row: Report | undefined, month: string, more: Partial<Omit<Report, 'month'>>): Report {
  return {
    month,
    deposits: (row?.deposits ?? 0) + (more.deposits ?? 0),
    withdrawals: (row?.withdrawals ?? 0) + (more.withdrawals ?? 0),
    transfers: (row?.transfers ?? 0) + (more.transfers ?? 0),
    accounts: (row?.accounts ?? 0) + (more.accounts ?? 0),
  }
}
