/** A process that keeps the random views in step until it is told to stop, or killed. */
import { headwater, type Mode, silentLog } from 'headwater'
import { postgres } from 'headwater/postgres'
import { randomViews } from './random-writes.ts'

const { url, tables, schema, mode } = JSON.parse(process.argv[2] ?? '{}') as { url: string; tables: string; schema: string; mode: Mode }
const app = headwater({
  database: postgres(url, { searchPath: tables, poolSize: 4 }),
  schema,
  readModels: randomViews(mode),
  log: silentLog,
  pollIntervalMs: 5,
})
process.on('SIGTERM', () => void app.stop().then(() => process.exit(0)))
await app.start()
process.stdout.write('ready\n')
