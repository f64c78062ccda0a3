import { headwater } from 'headwater'
import { pglite, postgres } from 'headwater/postgres'
import { closeAccount, deposit, openAccount, withdraw } from './account.ts'
import { monthlyReports } from './monthly-report.ts'
import * as queries from './queries.ts'
import * as reactions from './reactions.ts'
import * as readModels from './read-models.ts'
import { monthlyReport } from './report-query.ts'
import { readSettings } from './settings.ts'
import { statements } from './statements.ts'
import { requestTransfer } from './transfer.ts'
import * as steps from './transfer-steps.ts'

const { DATABASE_URL, DATA_DIR } = process.env

export const settings = readSettings(process.argv.slice(2), process.env)
export const database = DATABASE_URL ? postgres(DATABASE_URL) : pglite(DATA_DIR ?? '.data/ledger')

/** What anybody may send. The steps of a transfer are the reactions' alone. */
export const commands = { openAccount, deposit, withdraw, closeAccount, requestTransfer }

export const app = headwater({
  database,
  schema: 'headwater_ledger',
  commands: { ...commands, ...steps },
  reactions,
  // A read model can be added at any time: it is built from everything that has happened, while what is there goes on.
  readModels: { ...readModels, statements, ...(settings.report && { monthlyReports }) },
  queries: { ...queries, ...(settings.report && { monthlyReport }) },
})
