/** A process that keeps the random views in step in Redis, until it is told to stop, or killed. */
import { headwater, type MaterializedView, silentLog } from 'headwater'
import { postgres } from 'headwater/postgres'
import { redis } from 'headwater/redis'
import { randomViews } from './random-writes.ts'

interface Argument {
  readonly url: string
  readonly tables: string
  readonly schema: string
  readonly redisUrl: string
  readonly prefix: string
}

const { url, tables, schema, redisUrl, prefix } = JSON.parse(process.argv[2] ?? '{}') as Argument
const store = redis(redisUrl, { prefix })
const views = Object.values(randomViews('async')) as unknown as readonly MaterializedView[]
const app = headwater({
  database: postgres(url, { searchPath: tables, poolSize: 4 }),
  schema,
  readModels: Object.fromEntries(views.map((view) => [view.readModelName, { ...view, '~view': { ...view['~view'], store } }])),
  log: silentLog,
  pollIntervalMs: 5,
})
process.on(
  'SIGTERM',
  () =>
    void app
      .stop()
      .then(() => store.close())
      .then(() => process.exit(0)),
)
await app.start({ roles: ['projections'] })
process.stdout.write('ready\n')
