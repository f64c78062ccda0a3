import { randomUUID } from 'node:crypto'
import { account, commands, dataOf, eventsSelect, evolved, fillLog } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { idOf, prepared } from '../database.mjs'
import { closedLoop, interleave, medians } from '../timing.mjs'

export const name = 'one-at-a-time'
export const title = 'one command at a time on streams of 10 events, against a read and an append by hand'

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const accounts = quick ? 500 : 10_000
  const ms = quick ? 300 : 4000
  const size = { count: accounts * 10, accounts }
  const pool = place.pool(1, 'public')
  const schema = place.schema('h')
  await (await startApplication(place, { schema, commands })).stop()
  await fillLog(pool, schema, size)
  const cold = await startApplication(place, { schema, commands, poolSize: 2, stateCache: { entries: 0 } })
  const byHand = await handWritten(place, size)
  let next = 0
  // A stream is taken up once, so it has ten events, and nobody has it in a cache.
  const load = (work) => async () => (await closedLoop({ clients: 1, ms }, () => work(idOf('account', 1 + (next++ % accounts))))).perSecond
  const hot = await startApplication(place, { schema: place.schema('hot'), commands, poolSize: 2 })
  const hotAccounts = Array.from({ length: 200 }, () => randomUUID())
  for (let i = 0; i < 9; i++) for (const id of hotAccounts) await hot.execute('deposit', { id, amount: 1 })
  const value = medians(
    await interleave(3, {
      headwater: load((id) => cold.execute('deposit', { id, amount: 1 })),
      byHand: load(byHand),
      hot: load(() => hot.execute('deposit', { id: hotAccounts[next % hotAccounts.length], amount: 1 })),
    }),
  )
  const unit = 'commands/s'
  const against = 'SELECT, fold, INSERT'
  report.add({ bench: name, case: 'by hand: SELECT, fold, INSERT', value: value.byHand, unit })
  report.add({
    bench: name,
    case: 'execute(), no state cache',
    value: value.headwater,
    unit,
    against,
    ratio: value.headwater / value.byHand,
    target: { ratioAtLeast: 0.8 },
  })
  report.add({ bench: name, case: 'execute(), hot streams', value: value.hot, unit, against, ratio: value.hot / value.byHand })
}

/** The same on one connection: the unique key refuses what was decided on an old state. */
async function handWritten(place, size) {
  const schema = place.schema('hand')
  const pool = place.pool(1, schema)
  await pool.query(`create schema ${schema}; create table event (position bigint generated always as identity primary key, stream text collate "C" not null,
    version int not null, id uuid not null, type text not null, data json not null, metadata json not null, time timestamptz not null default now(), unique (stream, version));
    insert into event (stream, version, id, type, data, metadata)
    select 'account-' || id, version, gen_random_uuid(), type, data, '{"command":"deposit"}' from (${eventsSelect(size)}) e`)
  await pool.query('vacuum analyze event')
  const select = 'select version, type, data from event where stream = $1 order by version'
  const insert = 'insert into event (stream, version, id, type, data, metadata) values ($1, $2, $3, $4, $5, $6)'
  return async (id) => {
    const stream = `account-${id}`
    const { rows } = await prepared(pool, select, [stream])
    const state = rows.reduce((state, { data }) => evolved(state, data), { balance: 0, events: 0 })
    if (state.events !== rows.length) throw new Error('the fold lost an event')
    const { data } = account.events.MoneyDeposited(dataOf(id, 1))
    await prepared(pool, insert, [stream, rows.length + 1, randomUUID(), 'MoneyDeposited', JSON.stringify(data), '{"command":"deposit"}'])
  }
}
