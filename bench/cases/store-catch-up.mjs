import { commands, fillLog } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { eachBatch, folded } from '../fold-by-hand.mjs'
import { catchUp, registerLive } from '../projecting.mjs'
import { storeOf } from '../store-of.mjs'
import { openStores } from '../stores.mjs'
import { interleave, medians, timed } from '../timing.mjs'

export const name = 'store-catch-up'
export const title = 'a live read model in Redis and in MongoDB takes in what it has missed: 200,000 events into 20,000 documents'

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const rounds = 3
  for (const store of await openStores(place, report)) {
    const size = sizeFor(store, quick)
    const names = Array.from({ length: rounds }, (_name, i) => `balances_${i}`)
    const schema = place.schema(store.kind)
    const pool = place.pool(1, 'public')
    report.say(`  ${store.label}: filling ${size.count} events of ${size.accounts} documents`)
    await registerLive(place, schema, names, () => ({ store: storeOf(store.address) }))
    await fillLog(pool, schema, size)
    report.say(`  ${store.label}: measuring`)
    const perSecond = (ms) => size.count / (ms / 1000)
    const byHand = store.kind === 'redis' ? foldIntoRedis : foldIntoMongodb
    const value = medians(
      await interleave(rounds, {
        headwater: async (round) => perSecond(await catchUp(place, schema, names[round], { store: storeOf(store.address) })),
        byHand: async (round) =>
          perSecond(await timed(() => withReader(pool, (reader) => byHand(store, reader, `${schema}.event`, round)))),
      }),
    )
    await checkSum(place, schema, store, names, size)
    const unit = 'events/s'
    const against = `${store.label}: by hand, batches of 5,000, prefetch`
    report.add({ bench: name, case: against, value: value.byHand, unit })
    report.add({
      bench: name,
      case: `${store.label}: projection`,
      value: value.headwater,
      unit,
      against: 'by hand',
      ratio: value.headwater / value.byHand,
      target: { ratioAtLeast: 0.7 },
    })
  }
}

/** FerretDB writes each document in some milliseconds: the whole size would take hours. */
function sizeFor({ kind, isFerretDB }, quick) {
  if (quick) return { count: 5000, accounts: 500 }
  return kind === 'mongodb' && isFerretDB ? { count: 40_000, accounts: 4000 } : { count: 200_000, accounts: 20_000 }
}

async function withReader(pool, work) {
  const reader = await pool.connect()
  try {
    await work(reader)
  } finally {
    reader.release(true)
  }
}

/** Rows are written by a script, if the position is the one they were folded from: two owners cannot both write. */
const write = `if (redis.call('GET', KEYS[2]) or '0') ~= ARGV[1] then return 0 end
  for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
  redis.call('SET', KEYS[2], ARGV[2])
  return 1`

async function foldIntoRedis({ client, address }, reader, source, round) {
  const keys = [`${address.name}hand:${round}:rows`, `${address.name}hand:${round}:position`]
  await eachBatch(reader, source, async (events, was, position) => {
    const streams = [...new Set(events.map(({ stream }) => stream))]
    const stored = await client.hmGet(keys[0], streams)
    const rows = new Map(streams.flatMap((stream, i) => (stored[i] ? [[stream, JSON.parse(stored[i])]] : [])))
    const changed = [...folded(rows, events)].flatMap(([stream, row]) => [stream, JSON.stringify(row)])
    const moved = await client.eval(write, { keys, arguments: [String(was), String(position), ...changed] })
    if (moved !== 1) throw new Error('somebody else folds')
  })
}

/** Each document says up to where it is folded, and is replaced only by a newer one; the position follows when all are written. */
async function foldIntoMongodb({ database, isFerretDB }, reader, source, round) {
  const rows = database.collection(`hand_${round}`)
  // FerretDB v1 keeps a connection of its own for each `replaceOne` of a command, until it has none left; for an `updateMany` it does not.
  const replacement = (filter, document) =>
    isFerretDB ? { updateMany: { filter, update: { $set: document } } } : { replaceOne: { filter, replacement: document } }
  const checkpoint = database.collection(`hand_${round}_position`)
  await checkpoint.insertOne({ _id: /** @type {any} */ ('position'), position: 0 })
  await eachBatch(reader, source, async (events, was, position) => {
    const streams = [...new Set(events.map(({ stream }) => stream))]
    // In one piece: FerretDB keeps a connection of its own for each answer that comes in several.
    const stored = await rows.find({ _id: { $in: /** @type {any[]} */ (streams) } }, { batchSize: streams.length + 1 }).toArray()
    const known = new Map(stored.map(({ _id, row }) => [String(_id), row]))
    const changed = [...folded(known, events)]
    await rows.bulkWrite(
      changed.map(([stream, row]) =>
        known.has(stream)
          ? replacement({ _id: stream, position: { $lte: was } }, { position, row })
          : { insertOne: { document: { _id: stream, position, row } } },
      ),
      { ordered: false },
    )
    const { modifiedCount } = await checkpoint.updateOne({ _id: /** @type {any} */ ('position'), position: was }, { $set: { position } })
    if (modifiedCount !== 1) throw new Error('somebody else folds')
  })
}

/** Throws unless every read model is what its log says. */
async function checkSum(place, schema, store, names, size) {
  for (const model of names) {
    const app = await startApplication(place, { schema, commands, readModels: {} })
    await app.stop()
    const { events, amount } = await sumOf(store, model)
    const { rows } = await place.pool(1, 'public').query(`select sum((data ->> 'amount')::int)::int as amount from ${schema}.event`)
    if (events !== size.count || amount !== rows[0].amount) throw new Error(`${model} in ${store.label} is not the fold of its log`)
  }
}

async function sumOf(store, model) {
  let [events, amount] = [0, 0]
  const add = (row) => {
    events += row.events
    amount += row.balance
  }
  if (store.kind === 'redis') {
    const [key] = await store.client.keys(`${store.address.name}*${model}*:rows`)
    const all = await store.client.hVals(key)
    for (const text of all) if (/^\d+:\d*:\{/.test(text)) add(JSON.parse(text.slice(text.indexOf('{'))))
  } else {
    const collections = await store.database.listCollections().toArray()
    const { name: own } = collections.find(({ name }) => name.includes(model)) ?? { name: '' }
    for await (const { row } of store.database.collection(own).find({ row: { $exists: true } }, { batchSize: 100_000 }))
      add(typeof row === 'string' ? JSON.parse(row) : row)
  }
  return { events, amount }
}
