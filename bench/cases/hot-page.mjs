import { query, type } from 'headwater'
import { balances, commands, fillLog } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { idOf } from '../database.mjs'
import { registerLive } from '../projecting.mjs'
import { storeOf } from '../store-of.mjs'
import { openStores } from '../stores.mjs'
import { closedLoop, interleave, median } from '../timing.mjs'

export const name = 'hot-page'
export const title = 'twenty documents of a page from Redis, 16 clients: getMany in a query against the bare client'

const perPage = 20

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const accounts = quick ? 200 : 10_000
  const redis = (await openStores(place, report)).find(({ kind }) => kind === 'redis')
  if (redis?.kind !== 'redis') return
  const schema = place.schema('h')
  const model = balances('balances', { store: storeOf(redis.address) })
  await registerLive(place, schema, ['balances'], () => ({ store: storeOf(redis.address) }))
  await fillLog(place.pool(1, 'public'), schema, { count: accounts * 2, accounts })
  const page = query('page', { input: type(), reads: { model }, execute: ({ ids }, { model }) => model.getMany(ids) })
  const native = query('native', { input: type(), reads: { model }, execute: (_input, { model }) => model.native() })
  const app = await startApplication(place, { schema, commands, readModels: { model }, queries: { page, native } })
  await app.settle()
  const { token } = await app.execute('deposit', { id: idOf('account', 1), amount: 1 })
  await app.settle()
  const { keys } = (await app.query('native', {})).result
  const bare = async (ids) => (await redis.client.hmGet(keys.rows, ids)).map((text) => JSON.parse(text.slice(text.indexOf('{'))))
  const sides = {
    getMany: (ids) => app.query('page', { ids }),
    token: (ids) => app.query('page', { ids }, { after: token }),
    bare,
  }
  const idsAt = (n) => Array.from({ length: perPage }, (_id, i) => idOf('account', 1 + ((n * 7919 + i * 611) % accounts)))
  const pages = Array.from({ length: 997 }, (_page, n) => idsAt(n))
  if (JSON.stringify((await sides.getMany(pages[5])).result) !== JSON.stringify(await bare(pages[5]))) throw new Error('the pages differ')
  const measure = (read) => async () =>
    (await closedLoop({ clients: 16, ms: quick ? 300 : 3000 }, (client, request) => read(pages[(client * 61 + request) % pages.length])))
      .perSecond
  const figures = await interleave(3, Object.fromEntries(Object.entries(sides).map(([side, read]) => [side, measure(read)])))
  const value = Object.fromEntries(Object.entries(figures).map(([side, values]) => [side, median(values)]))
  const unit = 'pages/s'
  report.add({ bench: name, case: 'bare client: HMGET and JSON.parse', value: value.bare, unit })
  for (const [side, label] of [
    ['getMany', 'query() with getMany'],
    ['token', 'the same with a token'],
  ]) {
    const ratio = value[side] / value.bare
    report.add({ bench: name, case: label, value: value[side], unit, against: 'bare client', ratio, target: { ratioAtLeast: 0.8 } })
  }
}
