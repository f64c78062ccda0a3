// A process of its own for test/command-faults.test.ts: carries out one command many times at once and prints the outcomes.
// It runs from dist, because Node 20 starts no process on TypeScript.

import { postgres } from '../../dist/adapters/postgres/postgres.js'
import { command } from '../../dist/command/command.js'
import { executeCommand } from '../../dist/command/execute-command.js'
import { systemClock } from '../../dist/internal/clock.js'
import { silentLog } from '../../dist/internal/log.js'
import { type } from '../../dist/message/schema.js'

const [url = '', schema = '', own = '', key = '', times = ''] = process.argv.slice(2)
const database = postgres(url, { poolSize: 5 })
const runtime = { database, schema, clock: systemClock, log: silentLog }
const count = command('count', {
  input: type(),
  execute: async (_input, { client }) => {
    const { rows } = await client.query(`update ${own}.note set n = n + 1 where text = 'counter' returning n`)
    return { n: rows[0]?.n, pid: process.pid }
  },
})
process.once('message', async () => {
  const outcomes = await Promise.all(
    Array.from({ length: Number(times) }, () => executeCommand(runtime, count, {}, { idempotencyKey: key })),
  )
  await database.close()
  process.send?.(outcomes, () => process.disconnect())
})
process.send?.('ready')
