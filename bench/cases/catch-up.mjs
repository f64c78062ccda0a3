import { SQL } from '@event-driven-io/dumbo'
import { pongoSingleStreamProjection, postgreSQLRawSQLProjection } from '@event-driven-io/emmett-postgresql'
import { evolved, fillLog } from '../accounts.mjs'
import { foldByHand } from '../fold-by-hand.mjs'
import { openEmmett } from '../peers/emmett.mjs'
import { ownSignals } from '../peers/own-signals.mjs'
import { catchUp, checkRows, registerLive } from '../projecting.mjs'
import { interleave, medians, sleep, timed } from '../timing.mjs'

export const name = 'catch-up'
export const title = 'a live read model takes in what it has missed: 200,000 events into 20,000 rows'

const canHandle = ['AccountOpened', 'MoneyDeposited']

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const size = quick ? { count: 5000, accounts: 500 } : { count: 200_000, accounts: 20_000 }
  const rounds = 3
  const names = Array.from({ length: rounds }, (_name, i) => `balances_${i}`)
  const schema = place.schema('h')
  const hand = place.schema('hand')
  const pool = place.pool(2, 'public')
  report.say('  filling')
  await registerLive(place, schema, names)
  await fillLog(pool, schema, size)
  await pool.query(`create schema ${hand}`)
  const emmett = openEmmett(await place.database('emmett'))
  place.onClose(() => emmett.close())
  await emmett.migrate()
  await emmett.fill(size)
  report.say('  measuring')
  const perSecond = (ms) => size.count / (ms / 1000)
  const value = medians(
    await interleave(rounds, {
      headwater: async (round) => perSecond(await catchUp(place, schema, names[round])),
      byHand: async () => perSecond(await timed(() => foldByHand(pool, `${schema}.event`, hand))),
      emmettDocument: () => consume(emmett, documents, quick),
      emmettRaw: () => consume(emmett, raw, quick),
    }),
  )
  for (const model of names) await checkRows(pool, schema, `${schema}.${model}_v1`, size.count)
  await checkRows(pool, schema, `${hand}.balances`, size.count)
  const labels = {
    byHand: 'by hand: batches of 5,000, prefetch',
    emmettDocument: 'Emmett, document projection, batch 5,000, 1 ms',
    emmettRaw: 'Emmett, raw SQL projection, batch 5,000, 1 ms',
  }
  const unit = 'events/s'
  for (const side of Object.keys(labels)) report.add({ bench: name, case: labels[side], value: value[side], unit })
  for (const [side, ratioAtLeast] of /** @type {const} */ ([
    ['byHand', 0.9],
    ['emmettDocument', 40],
    ['emmettRaw', 20],
  ])) {
    const ratio = value.headwater / value[side]
    report.add({ bench: name, case: 'projection', value: value.headwater, unit, against: labels[side], ratio, target: { ratioAtLeast } })
  }
}

let handled = 0

const documents = pongoSingleStreamProjection({
  collectionName: 'balances',
  canHandle,
  initialState: () => ({ balance: 0, events: 0 }),
  evolve: (document, { data }) => {
    handled++
    return { ...document, ...evolved(document, data) }
  },
})

const raw = postgreSQLRawSQLProjection({
  name: 'raw_balances',
  canHandle,
  init: () => SQL`create table if not exists raw_balances (key text primary key, balance bigint not null, events int not null)`,
  evolve: ({ data }) => {
    handled++
    return SQL`insert into raw_balances as b (key, balance, events) values (${data.owner}, ${data.amount}, 1)
      on conflict (key) do update set balance = b.balance + excluded.balance, events = b.events + 1`
  },
})

/** For a while, since all would take minutes; the next round goes on where this one ended. */
async function consume(emmett, projection, quick) {
  const consumer = emmett.store.consumer({ pulling: { batchSize: quick ? 50 : 5000, pullingFrequencyInMs: 1 } })
  consumer.projector({ projection, processorId: projection.name })
  handled = 0
  const restore = ownSignals()
  const began = performance.now()
  const running = consumer.start()
  await sleep(quick ? 1000 : 10_000)
  restore()
  const [count, ms] = [handled, performance.now() - began]
  // A batch that has begun is finished.
  await consumer.stop()
  await running
  return count / (ms / 1000)
}
