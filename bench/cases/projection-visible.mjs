import { randomUUID } from 'node:crypto'
import { pongoSingleStreamProjection } from '@event-driven-io/emmett-postgresql'
import { balances, commands, evolved } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { prepared } from '../database.mjs'
import { openEmmett } from '../peers/emmett.mjs'
import { ownSignals } from '../peers/own-signals.mjs'
import { interleave, median, paced, percentile, probes, sleep } from '../timing.mjs'

export const name = 'projection-visible'
export const title = 'from the answer of a command to the row another connection sees, async projection'

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const [writes, peerWrites, perSecond, mostMs] = quick ? [10, 2, 100, 2000] : [200, 20, 500, 15_000]
  const ours = await openHeadwater(place)
  const theirs = await openPeer(place)
  const probe = (side, count, busy) => async () => {
    const load = busy ? paced(perSecond, (n) => side.write(side.others[n % side.others.length])) : undefined
    await sleep(busy ? 500 : 100)
    const times = await probes(side, count, mostMs)
    await load?.stop()
    // Whoever fell behind comes back before somebody else is measured.
    if (busy) await probes(side, 1, mostMs, 4 * mostMs)
    return times
  }
  const rounds = await interleave(3, {
    idle: probe(ours, writes, false),
    busy: probe(ours, writes, true),
    peerIdle: probe(theirs, peerWrites, false),
    peerBusy: probe(theirs, peerWrites, true),
  })
  const add = (label, side, [p50, p99]) => {
    const all = rounds[side].flat()
    const target = (atMost) => (atMost === undefined ? undefined : { atMost })
    report.add({ bench: name, case: `${label}, p50`, value: median(rounds[side].map(median)), unit: 'ms', target: target(p50) })
    report.add({ bench: name, case: `${label}, p99 of ${all.length}`, value: percentile(all, 0.99), unit: 'ms', target: target(p99) })
  }
  add('idle', 'idle', [3, 25])
  add(`at ${perSecond} events/s`, 'busy', [3, 40])
  add('Emmett, defaults, idle', 'peerIdle', [])
  add(`Emmett, defaults, at ${perSecond} events/s`, 'peerBusy', [])
}

const newOthers = () => Array.from({ length: 1000 }, () => randomUUID())

async function openHeadwater(place) {
  const schema = place.schema('h')
  const app = await startApplication(place, { schema, commands, readModels: { balances: balances('balances') } })
  const watcher = place.pool(1, 'public')
  const select = `select from ${schema}.balances_v1 where key = $1 and (row ->> 'events')::int = $2`
  return {
    others: newOthers(),
    write: (id) => app.execute('deposit', { id, amount: 1 }),
    sees: async (id, events) => (await prepared(watcher, select, [id, events])).rowCount === 1,
  }
}

async function openPeer(place) {
  const emmett = openEmmett(await place.database('emmett'))
  place.onClose(() => emmett.close())
  await emmett.migrate()
  const consumer = emmett.store.consumer()
  consumer.projector({
    processorId: 'balances',
    projection: pongoSingleStreamProjection({
      collectionName: 'balances',
      canHandle: ['AccountOpened', 'MoneyDeposited'],
      initialState: () => ({ balance: 0, events: 0 }),
      evolve: (document, { data }) => ({ ...document, ...evolved(document, data) }),
    }),
  })
  const restore = ownSignals()
  const running = consumer.start()
  place.onClose(async () => {
    await consumer.stop()
    await running
  })
  // The first event makes the table.
  await emmett.execute(randomUUID(), 'MoneyDeposited')
  while ((await emmett.pool.query(`select to_regclass('balances') is not null as made`)).rows[0].made === false) await sleep(50)
  restore()
  const select = `select from balances where _id = $1 and (data ->> 'events')::int = $2`
  return {
    others: newOthers(),
    write: (id) => emmett.execute(id, 'MoneyDeposited'),
    sees: async (id, events) => (await prepared(emmett.pool, select, [`account-${id}`, events])).rowCount === 1,
  }
}
