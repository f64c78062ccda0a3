import { fillLog } from '../accounts.mjs'
import { catchUp, checkRows, registerLive } from '../projecting.mjs'
import { interleave, medians, timed } from '../timing.mjs'

export const name = 'rebuild'
export const title = 'a read model is built from 1,000,000 events into 100,000 rows'

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const size = quick ? { count: 20_000, accounts: 2000 } : { count: 1_000_000, accounts: 100_000 }
  const rounds = 3
  const live = Array.from({ length: rounds }, (_name, i) => `live_${i}`)
  const built = Array.from({ length: rounds }, (_name, i) => `built_${i}`)
  const schema = place.schema('h')
  const hand = place.schema('hand')
  const pool = place.pool(1, 'public')
  report.say('  filling')
  await registerLive(place, schema, live)
  await fillLog(pool, schema, size)
  await pool.query(`create schema ${hand}`)
  report.say('  measuring')
  const perSecond = (ms) => size.count / (ms / 1000)
  const value = medians(
    await interleave(rounds, {
      // A name that is new to the log is built: from all of it, while nobody reads it.
      rebuild: async (round) => perSecond(await catchUp(place, schema, built[round])),
      live: async (round) => perSecond(await catchUp(place, schema, live[round])),
      statement: async () => perSecond(await timed(() => statement(pool, schema, hand))),
    }),
  )
  for (const model of [...live, ...built]) await checkRows(pool, schema, `${schema}.${model}_v1`, size.count)
  await checkRows(pool, schema, `${hand}.balances`, size.count)
  const unit = 'events/s'
  const [against, caughtUp] = ['one INSERT ... SELECT ... GROUP BY', 'live catch-up']
  report.add({ bench: name, case: against, value: value.statement, unit })
  report.add({ bench: name, case: caughtUp, value: value.live, unit, against, ratio: value.live / value.statement })
  const compare = (against, other, ratioAtLeast) =>
    report.add({
      bench: name,
      case: 'rebuild',
      value: value.rebuild,
      unit,
      against,
      ratio: value.rebuild / other,
      target: { ratioAtLeast },
    })
  compare(against, value.statement, 0.2)
  compare(caughtUp, value.live, 2)
}

/** The same rows, as far as SQL can say what the fold does. */
async function statement(pool, schema, hand) {
  await pool.query(`drop table if exists ${hand}.balances;
    create table ${hand}.balances (key text collate "C" primary key, row jsonb not null, position bigint not null);
    insert into ${hand}.balances select stream, jsonb_build_object('balance', sum((data ->> 'amount')::int), 'events', count(*)), max(position)
    from ${schema}.event group by stream`)
}
