import { query } from 'headwater'
import { z } from 'zod'
import { monthlyReports } from './monthly-report.ts'

/** What happened in a month. 503 `building` until the read model has folded everything that happened before it was added. */
export const monthlyReport = query('monthlyReport', {
  input: z.object({ month: z.string().regex(/^\d{4}-(0[1-9]|1[0-2])$/, 'a month such as 2024-03 is expected') }),
  reads: { monthlyReports },
  async execute({ month }, { monthlyReports }) {
    return (await monthlyReports.get(month)) ?? { month, deposits: 0, withdrawals: 0, transfers: 0, accounts: 0 }
  },
})
