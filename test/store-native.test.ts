import { type Database, headwater, materializedView, projection, query, type Store, silentLog, type as typeOf } from 'headwater'
import { mongodb } from 'headwater/mongodb'
import { postgresStore } from 'headwater/postgres'
import { redis } from 'headwater/redis'
import { createClient } from 'redis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { commands, counter, type Price, priceTables, type Total } from './process/counters.ts'
import { databases, freshSchema, lasting, postgresUrl } from './support/databases.ts'
import { mongodbUrl, redisMissing, redisUrl } from './support/store-addresses.ts'
import { run, stores } from './support/stores.ts'

const server = databases.find(({ name }) => name === 'postgres')
const redisSkip = await redisMissing()
const mongodbSkip = stores.find(({ name }) => name === 'mongodb')?.skip ?? false

describe.skipIf(server?.skip)('the native client of a store, in a query', () => {
  let database: Database
  let schema: string

  beforeEach(async () => {
    if (!server) throw new Error('no server')
    database = await server.open()
    schema = freshSchema()
    await database.query(priceTables)
  })

  afterEach(async () => {
    await database.query(`drop schema if exists "${schema}" cascade`)
    await database.close()
  })

  const totals = <S extends Store>(store: S) =>
    projection('totals', {
      from: [counter],
      row: typeOf<Total>(),
      on: {
        Counted: (row, { data }) => ({ total: (row?.total ?? 0) + data.by, events: (row?.events ?? 0) + 1 }),
        Emptied: () => null,
      },
      store,
    })
  const prices = <S extends Store>(store: S) =>
    materializedView('prices', {
      row: typeOf<Price>(),
      key: 'id',
      select: 'select id, price, changes from prices',
      changedBy: { prices: 'id' },
      store,
    })

  function application<Q extends Readonly<Record<string, unknown>>>(readModels: Readonly<Record<string, unknown>>, queries: Q) {
    return headwater({ database: lasting(database), schema, log: silentLog, pollIntervalMs: 10, commands, readModels, queries })
  }

  async function filled(app: ReturnType<typeof application>): Promise<void> {
    await app.start()
    for (const [id, n] of [
      ['a', 3],
      ['b', 30],
      ['c', 300],
    ] as const) {
      await app.execute('count', { id, by: n })
      await app.execute('setPrice', { id, price: n })
    }
    await app.settle()
  }

  test.skipIf(redisSkip)('in Redis: a client that was given is handed on with the keys, and left open', async () => {
    const client = createClient({ url: redisUrl })
    await client.connect()
    const store = redis(client, { prefix: `${schema}:` })
    const [total, price] = [totals(store), prices(store)]
    const counted = query('counted', {
      input: typeOf<object>(),
      reads: { total, price },
      async execute(_none, { total, price }) {
        const found = await total.native()
        expect(found.client).toBe(client)
        const lengths = [await found.client.zCard(found.keys.keys), await client.zCard((await price.native()).keys.keys)]
        return { lengths, row: await found.client.hGet(found.keys.rows, 'b') }
      },
    })
    const app = application({ total, price }, { counted })
    await filled(app)
    const { result } = await app.query('counted', {})
    expect(result.lengths).toEqual([3, 3])
    expect(result.row).toMatch(/^\d+:1:\{"total":30,"events":1\}$/)
    await app.uninstall()
    expect(client.isOpen).toBe(true)
    expect(await client.keys(`${schema}:*`)).toEqual([])
    await client.close()
  })

  test.skipIf(mongodbSkip)('in MongoDB: the database and the collection', async () => {
    const store = mongodb(mongodbUrl, { database: run })
    const [total, price] = [totals(store), prices(store)]
    const large = query('large', {
      input: typeOf<{ over: number }>(),
      reads: { total, price },
      async execute({ over }, { total, price }) {
        const { collection, database } = await total.native()
        const found = await collection.find({ 'row.total': { $gt: over } }).toArray()
        const dear = await (await price.native()).collection.countDocuments({ 'row.price': { $gt: over } })
        return { keys: found.map(({ _id }) => _id).sort(), dear, database: database.databaseName }
      },
    })
    const app = application({ total, price }, { large })
    await filled(app)
    expect((await app.query('large', { over: 10 })).result).toEqual({ keys: ['b', 'c'], dear: 2, database: run })
    await app.uninstall()
  })

  test('in another PostgreSQL: the table, as sql has it', async () => {
    const store = postgresStore(postgresUrl, { schema: freshSchema('rows') })
    const [total, price] = [totals(store), prices(store)]
    const sums = query('sums', {
      input: typeOf<{ over: number }>(),
      reads: { total, price },
      async execute({ over }, { total, price }) {
        const { sql, table } = await total.native()
        const { table: other } = await price.native()
        return await sql<{ total: number; price: number }>`
          select sum((t.row ->> 'total')::int)::int as total, sum((p.row ->> 'price')::int)::int as price
          from ${table} t join ${other} p on p.key = t.key where (t.row ->> 'total')::int > ${over}`
      },
    })
    const app = application({ total, price }, { sums })
    await filled(app)
    expect((await app.query('sums', { over: 10 })).result).toEqual([{ total: 330, price: 330 }])
    await app.uninstall()
  })
})
