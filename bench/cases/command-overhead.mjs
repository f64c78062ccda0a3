import { command } from 'headwater'
import { z } from 'zod'
import { startApplication } from '../application.mjs'
import { prepared } from '../database.mjs'
import { closedLoop, interleave, median } from '../timing.mjs'

export const name = 'command-overhead'
export const title = 'a command of one statement, against the same transaction by hand'

const statement = 'update accounts set balance = balance + $2 where id = $1'

const deposit = command('deposit', {
  input: z.object({ id: z.int(), amount: z.int() }),
  async execute({ id, amount }, { client }) {
    await client.query(statement, [id, amount], { prepare: true })
  },
})

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const rows = 10_000
  const tables = place.schema('t')
  const pool = place.pool(16, tables)
  await pool.query(`create schema ${tables}; create table accounts (id int primary key, balance int not null) with (fillfactor = 50);
    insert into accounts select n, 0 from generate_series(1, ${rows}) n`)
  const app = await startApplication(place, { schema: place.schema('h'), tables, commands: { deposit }, poolSize: 16 })
  let serial = 0
  const sides = {
    headwater: (id) => app.execute('deposit', { id, amount: 1 }),
    keyed: (id) => app.execute('deposit', { id, amount: 1 }, { idempotencyKey: `${process.pid}-${++serial}` }),
    transaction: (id) => transaction(pool, id),
    statement: (id) => prepared(pool, statement, [id, 1]),
  }
  for (const clients of [1, 16]) {
    const measure = (work) => async () =>
      (await closedLoop({ clients, ms: quick ? 300 : 3000 }, (client, request) => work(1 + ((client * 611 + request * 7919) % rows))))
        .perSecond
    const figures = await interleave(3, Object.fromEntries(Object.entries(sides).map(([side, work]) => [side, measure(work)])))
    const value = Object.fromEntries(Object.entries(figures).map(([side, values]) => [side, median(values)]))
    const labels = {
      headwater: 'execute()',
      keyed: 'execute() with an idempotency key',
      transaction: 'BEGIN, statement, COMMIT',
      statement: 'the statement alone',
    }
    for (const side of Object.keys(sides)) {
      report.add({
        bench: name,
        case: `${labels[side]}, ${clients === 1 ? 'one client' : `${clients} clients`}`,
        value: value[side],
        unit: 'commands/s',
        ...(side !== 'transaction' && { against: labels.transaction, ratio: value[side] / value.transaction }),
      })
    }
  }
}

async function transaction(pool, id) {
  const client = await pool.connect()
  try {
    await client.query('begin')
    await prepared(client, statement, [id, 1])
    await client.query('commit')
  } finally {
    client.release()
  }
}
