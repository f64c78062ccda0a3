// A process of its own for test/reaction-faults.test.ts: runs one reaction until it is killed.
// It runs from dist, because Node 20 starts no process on TypeScript.

import { postgres } from '../../dist/adapters/postgres/postgres.js'
import { systemClock } from '../../dist/internal/clock.js'
import { silentLog } from '../../dist/internal/log.js'
import { reaction } from '../../dist/reaction/reaction.js'
import { ReactionWorker } from '../../dist/reaction/reaction-worker.js'

const [url = '', schema = '', table = '', own = ''] = process.argv.slice(2)
const database = postgres(url, { poolSize: 5 })
const thing = { aggregateName: 'thing', schemas: { Happened: {} }, '~read': (event) => event }
const echo = reaction('echo', {
  from: [thing],
  on: { Happened: ({ data }) => [0, 1].map((n) => ({ command: 'write', input: { text: `${data.note}.${n}` } })) },
})
const eventLog = {
  async read({ after, limit }) {
    const { rows } = await database.query(`select event, position from ${table} where position > $1 order by position limit $2`, [
      after,
      limit,
    ])
    return rows.map(({ event, position }) => ({ ...event, position }))
  },
  async head() {
    const { rows } = await database.query(`select position, id as "eventId" from ${table} order by position desc limit 1`)
    return rows[0] ?? { position: 0, eventId: null }
  },
}
/** Notes that it began, so that what was begun twice can be told, and takes effect once for a key. */
const send = async ({ input }, { idempotencyKey }) => {
  await database.query(`insert into ${own}.effect (key, text) values ($1, $2) on conflict (key) do update set tries = effect.tries + 1`, [
    idempotencyKey,
    input.text,
  ])
}
const worker = new ReactionWorker({ database, schema, clock: systemClock, log: silentLog, eventLog, send }, [echo], { pollIntervalMs: 5 })
await worker.start()
process.send?.('ready')
process.once('SIGTERM', async () => {
  await worker.stop()
  await database.close()
  process.disconnect?.()
})
