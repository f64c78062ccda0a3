import { randomUUID } from 'node:crypto'
import { query, type } from 'headwater'
import { balances, commands } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { storeOf } from '../store-of.mjs'
import { openStores } from '../stores.mjs'
import { interleave, median, paced, percentile, probes, sleep } from '../timing.mjs'

export const name = 'store-visible'
export const title = 'from the answer of a command to the document that another client of the store sees'

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const [writes, perSecond, mostMs] = quick ? [10, 100, 2000] : [200, 500, 15_000]
  for (const store of await openStores(place, report)) {
    const side = await openHeadwater(place, store)
    const probe = (busy) => async () => {
      const load = busy ? paced(perSecond, (n) => side.write(side.others[n % side.others.length])) : undefined
      await sleep(busy ? 500 : 100)
      const times = await probes(side, writes, mostMs)
      await load?.stop()
      return times
    }
    const rounds = await interleave(3, { idle: probe(false), busy: probe(true) })
    const add = (label, all, atMost) => {
      report.add({ bench: name, case: `${store.label}, ${label}, p50`, value: median(all), unit: 'ms' })
      report.add({
        bench: name,
        case: `${store.label}, ${label}, p99 of ${all.length}`,
        value: percentile(all, 0.99),
        unit: 'ms',
        target: { atMost },
      })
    }
    add('idle', rounds.idle.flat(), 30)
    add(`at ${perSecond} events/s`, rounds.busy.flat(), 60)
  }
}

async function openHeadwater(place, store) {
  const model = balances('balances', { store: storeOf(store.address) })
  const native = query('native', { input: type(), reads: { model }, execute: (_input, { model }) => model.native() })
  const app = await startApplication(place, {
    schema: place.schema(store.kind),
    commands,
    readModels: { model },
    queries: { native },
  })
  await app.settle()
  const { keys, collection } = (await app.query('native', {})).result
  const at = store.kind === 'redis' ? keys.rows : store.database.collection(collection.collectionName)
  return {
    others: Array.from({ length: 1000 }, () => randomUUID()),
    write: (id) => app.execute('deposit', { id, amount: 1 }),
    sees: async (id) => (store.kind === 'redis' ? (await store.client.hExists(at, id)) === 1 : (await at.findOne({ _id: id })) !== null),
  }
}
