/** A process that folds the bank's read models until it is told to stop, or killed. */
import { headwater, type Log } from 'headwater'
import { postgres } from 'headwater/postgres'
import { redis } from 'headwater/redis'
import { farModel, homeModels } from './bank.ts'
import { startedApp } from './bank-app.ts'

export interface BankProjector {
  readonly url: string
  readonly schema: string
  /** Where the read model in another store is; without it there is none. */
  readonly redis: { readonly url: string; readonly prefix: string } | undefined
}

const options = JSON.parse(process.argv[2] ?? '{}') as BankProjector
/** What is wrong for good is for whoever looks into a failure. */
const log: Log = (level, message, fields) => {
  if (level === 'error') process.stderr.write(`${message} ${JSON.stringify(fields)}\n`)
}

const app = await startedApp(() => {
  const store = options.redis && redis(options.redis.url, { prefix: options.redis.prefix })
  return headwater({
    database: postgres(options.url, { poolSize: 6, applicationName: 'bank-projector' }),
    schema: options.schema,
    readModels: { ...homeModels, ...(store && { far: farModel(store) }) },
    log,
    pollIntervalMs: 10,
  })
}, 'projections')
process.on('SIGTERM', () => void app.stop().then(() => process.exit(0)))
process.stdout.write('ready\n')
