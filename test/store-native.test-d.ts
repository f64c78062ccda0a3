import { aggregate, materializedView, projection, query, type Reader, type Sql, type Store, type Table, type as typeOf } from 'headwater'
import { memory } from 'headwater/memory'
import { type MongodbNative, mongodb } from 'headwater/mongodb'
import { postgresStore } from 'headwater/postgres'
import { type RedisNative, redis } from 'headwater/redis'
import type { Collection, Db } from 'mongodb'
import type { RedisClientType } from 'redis'
import { expectTypeOf, test } from 'vitest'
import type { ProjectionReader } from '../src/projection/projection-definition.ts'

const account = aggregate('account', {
  events: { Opened: typeOf<{ owner: string }>() },
  initialState: () => ({}),
  evolve: { Opened: (state) => state },
})

interface Item {
  readonly id: number
  readonly name: string
}

function items<S extends Store | undefined>(store: S) {
  return materializedView('items', { row: typeOf<Item>(), key: 'id', select: '', changedBy: {}, store })
}

function owners<S extends Store | undefined>(store: S) {
  return projection('owners', { from: [account], row: typeOf<Item>(), on: { Opened: () => null }, ...(store ? { store } : {}) })
}

test('a query is handed the client of the store that the definition names', () => {
  const inMongodb = materializedView('a', {
    row: typeOf<Item>(),
    key: 'id',
    select: '',
    changedBy: {},
    store: mongodb('mongodb://localhost'),
  })
  const inRedis = projection('b', {
    from: [account],
    row: typeOf<Item>(),
    on: { Opened: () => null },
    indexes: { byName: ['name'] },
    store: redis('redis://localhost'),
  })
  const inPostgres = projection('c', {
    from: [account],
    row: typeOf<Item>(),
    on: { Opened: () => null },
    store: postgresStore('postgres://localhost/x'),
  })
  query('probe', {
    input: typeOf<object>(),
    reads: { inMongodb, inRedis, inPostgres },
    async execute(_none, { inMongodb, inRedis, inPostgres }) {
      expectTypeOf(inMongodb.native).returns.resolves.toEqualTypeOf<MongodbNative>()
      const { database, collection } = await inMongodb.native()
      expectTypeOf(database).toEqualTypeOf<Db>()
      expectTypeOf(collection).toExtend<Pick<Collection, 'collectionName'>>()
      expectTypeOf(inRedis.native).returns.resolves.toEqualTypeOf<RedisNative<RedisClientType>>()
      expectTypeOf((await inRedis.native()).keys.rows).toEqualTypeOf<string>()
      expectTypeOf(await inRedis.get('x')).toEqualTypeOf<Item | undefined>()
      const { sql, table } = await inPostgres.native()
      expectTypeOf(sql).toEqualTypeOf<Sql>()
      expectTypeOf(table).toEqualTypeOf<Table>()
      // @ts-expect-error no such member
      await inRedis.native().then(({ collection }) => collection)
    },
  })
})

test('where no store of a known kind is named there is none', () => {
  expectTypeOf(items(undefined)['~reader']).toEqualTypeOf<Reader<Item, number, 'id'>>()
  expectTypeOf(items(memory())['~reader']).toEqualTypeOf<Reader<Item, number, 'id'>>()
  const maybe: Store | undefined = redis('redis://localhost') as Store | undefined
  expectTypeOf(items(maybe)['~reader']).toEqualTypeOf<Reader<Item, number, 'id'>>()
  expectTypeOf(owners(maybe)['~reader']).toEqualTypeOf<ProjectionReader<Item, string, never>>()
  // @ts-expect-error in the write database the reader itself stands for the table in `sql`
  expectTypeOf(items(undefined)['~reader'].native).toBeFunction()
})
