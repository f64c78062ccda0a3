/** A process that keeps the read models of counters in step in several stores, until it is told to stop, or killed. */
import { headwater, type Store, silentLog } from 'headwater'
import { mongodb } from 'headwater/mongodb'
import { postgres, postgresStore } from 'headwater/postgres'
import { redis } from 'headwater/redis'
import { places } from './counters.ts'

/** Which stores there are, and where. */
export interface StoreAddresses {
  readonly redis?: { readonly url: string; readonly prefix: string }
  readonly mongodb?: { readonly url: string; readonly database: string }
  readonly postgres?: { readonly url: string; readonly schema: string }
}

interface Argument {
  readonly url: string
  readonly tables: string
  readonly schema: string
  readonly stores: StoreAddresses
}

const { url, tables, schema, stores } = JSON.parse(process.argv[2] ?? '{}') as Argument
const opened: Record<string, Store> = {}
if (stores.redis) opened.redis = redis(stores.redis.url, { prefix: stores.redis.prefix })
if (stores.mongodb) opened.mongodb = mongodb(stores.mongodb.url, { database: stores.mongodb.database })
if (stores.postgres) opened.postgres = postgresStore(stores.postgres.url, { schema: stores.postgres.schema, poolSize: 4 })
const app = headwater({
  database: postgres(url, { searchPath: tables, poolSize: 4 }),
  schema,
  log: silentLog,
  pollIntervalMs: 5,
  ...places(opened),
})
// Nothing but the application is stopped: what it was given must not keep the process alive.
process.on('SIGTERM', () => void app.stop().then(() => process.stdout.write('stopped\n')))
await app.start({ roles: ['projections'] })
process.stdout.write('ready\n')
