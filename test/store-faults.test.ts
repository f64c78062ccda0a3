import { type Database, headwater, materializedView, projection, query, type as typeOf } from 'headwater'
import { memory } from 'headwater/memory'
import { mongodb } from 'headwater/mongodb'
import { postgres, postgresStore } from 'headwater/postgres'
import { beforeEach, describe, expect, test } from 'vitest'
import { commands, counter } from './process/counters.ts'
import { answerTimeoutMs, type Breakable, breakableRedis } from './support/breakable-store.ts'
import { counterSuite, outcome, server } from './support/counter-suite.ts'
import { askOwnWrites, type CounterApplication, expectedRows, storedRows } from './support/counters.ts'
import { freshSchema, lasting, postgresUrl } from './support/databases.ts'
import { isLong, type Random, seed, seeded } from './support/seed.ts'
import { mongodbUrl, redisMissing } from './support/store-addresses.ts'
import { run, stores } from './support/stores.ts'
import { TcpProxy } from './support/tcp-proxy.ts'
import { pause, waitUntil } from './support/wait.ts'

const redisSkip = await redisMissing()
const mongodbSkip = stores.find(({ name }) => name === 'mongodb')?.skip ?? false

interface Target {
  readonly name: 'redis' | 'mongodb' | 'postgres'
  readonly skip: string | false | undefined
  break(): Promise<Breakable>
}

const targets: readonly Target[] = [
  { name: 'redis', skip: redisSkip, break: breakableRedis },
  {
    name: 'mongodb',
    skip: mongodbSkip,
    async break() {
      const [, host = '127.0.0.1', port = '27017'] = /^[a-z+]+:\/\/(?:[^@/]*@)?([^:/,]+)(?::(\d+))?/.exec(mongodbUrl) ?? []
      const proxy = await TcpProxy.open({ host, port: Number(port), raw: true })
      const address = `mongodb://127.0.0.1:${proxy.port}/?directConnection=true&heartbeatFrequencyMS=500`
      return {
        proxy,
        open: () => mongodb(address, { database: run, answerTimeoutMs }),
        direct: () => mongodb(mongodbUrl, { database: run }),
        close: () => proxy.close(),
      }
    },
  },
  {
    name: 'postgres',
    skip: server?.skip,
    async break() {
      const { hostname: host, port } = new URL(postgresUrl)
      const proxy = await TcpProxy.open({ host, port: Number(port || 5432) })
      const schema = freshSchema('rows')
      return {
        proxy,
        open: () => postgresStore(proxy.url(postgresUrl), { schema, answerTimeoutMs }),
        direct: () => postgresStore(postgresUrl, { schema }),
        close: () => proxy.close(),
      }
    },
  },
]

describe.skipIf(server?.skip)(`stores that fail, seed ${seed}`, () => {
  let database: Database
  let schema: string
  let random: Random
  const { opened, apps, closing, said, log, started, broken, direct, fill, statusesOf } = counterSuite()

  beforeEach(() => {
    ;({ database, schema } = opened())
    random = seeded(seed)
  })

  test('what is in a store is answered while the write database is away, and the answer says how old it may be', async () => {
    const { hostname: host, port } = new URL(postgresUrl)
    const proxy = await TcpProxy.open({ host, port: Number(port || 5432) })
    closing.push(() => proxy.close())
    const totals = projection('totals', {
      from: [counter],
      row: typeOf<{ total: number }>(),
      on: { Counted: (row, { data }) => ({ total: (row?.total ?? 0) + data.by }), Emptied: () => null },
      store: memory(),
    })
    const app = headwater({
      database: postgres(proxy.url(postgresUrl)),
      schema,
      log,
      pollIntervalMs: 10,
      commands,
      readModels: { totals },
      queries: {
        total: query('total', {
          input: typeOf<object>(),
          reads: { totals },
          execute: async (_input, { totals }) => (await totals.get('a'))?.total,
        }),
      },
    })
    closing.push(() => app.stop())
    await app.start()
    await app.execute('count', { id: 'a', by: 2 })
    await app.settle()
    expect((await app.query('total', {})).result).toBe(2)
    await proxy.close()
    const began = Date.now()
    await expect.poll(async () => (await app.query('total', {})).lagMs, { timeout: 20_000 }).toBeGreaterThan(1500)
    const { result, lagMs } = await app.query('total', {})
    expect(result).toBe(2)
    expect(lagMs).toBeLessThanOrEqual(Date.now() - began + 1000)
  }, 40_000)

  for (const target of targets) {
    describe.skipIf(target.skip)(`in ${target.name}`, () => {
      test(
        'delays, cuts and hung up connections while clients write: all is right at the end, and no answer was from before a write',
        async () => {
          const breakable = await broken(target.break())
          const app = await started({ away: breakable.open(), home: undefined })
          await app.settle()
          const rounds = isLong ? 300 : 20
          let writing = true
          let faults = 0
          const until = (round: number) => round >= rounds && faults > 5
          const clients = Promise.all(
            [1, 2, 3].map((i) => askOwnWrites(app, { places: ['away', 'home'], client: `c${i}`, random: seeded(seed + i), until })),
          ).finally(() => {
            writing = false
          })
          while (writing) {
            // After so many, seldom: a slow store must get on between two of them.
            await pause(20 + random(faults < rounds * 5 ? 200 : 2000))
            const dice = random(4)
            if (dice === 0) breakable.proxy.delayMs = random(15)
            else if (dice === 1) await breakable.hangUp?.()
            else breakable.proxy.cut()
            faults++
          }
          breakable.proxy.delayMs = 0
          const asked = await clients
          expect(asked.flatMap(({ wrong }) => wrong)).toEqual([])
          expect(asked.reduce((sum, { answered }) => sum + answered, 0)).toBeGreaterThan(rounds)
          expect(faults).toBeGreaterThan(5)
          await app.settle()
          expect(await storedRows(direct(breakable), schema, 'away')).toEqual(await expectedRows(database, schema))
          await waitUntil(async () => (await statusesOf(app, 'away')).every(({ state, error }) => state === 'live' && error === undefined))
        },
        isLong ? 600_000 : 180_000,
      )

      test('a server that falls silent: its read models pause, try again and say so, all others go on, and it recovers', async () => {
        const breakable = await broken(target.break())
        const app = await started({ away: breakable.open(), home: undefined })
        await fill(app, 5)
        await app.settle()
        breakable.proxy.tidies = true
        breakable.proxy.judge = () => 'half-open'
        // What is asked meanwhile is sent too, and must not make the silence look like talk.
        let silent = true
        const asking = (async () => {
          for (; silent; await pause(300)) void outcome(app, 'total_away', { id: 'k1' })
        })()
        const { token } = await app.execute('count', { id: 'k1', by: 50 })
        const { token: priced } = await app.execute('setPrice', { id: 'k1', price: 50 })
        expect((await app.query('total_home', { id: 'k1' }, { after: token })).result).toEqual({ total: 52, events: 2 })
        expect((await app.query('price_home', { id: 'k1' }, { after: priced })).result).toEqual({ id: 'k1', price: 50, changes: 2 })
        await waitUntil(async () => (await statusesOf(app, 'away')).every(({ error }) => error !== undefined))
        await expect(app.query('total_away', { id: 'k1' })).rejects.toMatchObject({ code: 'database_unavailable' })
        await expect(app.query('price_away', { id: 'k1' })).rejects.toMatchObject({ code: 'database_unavailable' })
        expect(await statusesOf(app, 'away')).toMatchObject(Array(2).fill({ state: 'live', pending: 1 }))
        expect(await statusesOf(app, 'home')).toMatchObject(Array(2).fill({ state: 'live', pending: 0, error: undefined }))
        // Tried again, later and later, and said each time.
        const pauses = (name: string) =>
          said.filter(({ message, tryAgainMs }) => message.startsWith(`${name}: `) && tryAgainMs !== undefined && tryAgainMs > 0).length
        await waitUntil(() => pauses('totals_away') > 1 && pauses('prices_away') > 1)
        silent = false
        await asking
        breakable.proxy.judge = () => 'forward'
        await app.settle()
        expect(await storedRows(direct(breakable), schema, 'away')).toEqual(await expectedRows(database, schema))
        expect((await app.query('total_away', { id: 'k1' }, { after: token })).result).toEqual({ total: 52, events: 2 })
        await waitUntil(async () => (await statusesOf(app, 'away')).every(({ state, error }) => state === 'live' && error === undefined))
      }, 120_000)
    })
  }

  const refusals = [
    {
      name: 'redis',
      skip: redisSkip,
      open: async () => breakableRedis('--proto-max-bulk-len', '1mb'),
      row: () => ({ note: 'x'.repeat(1_100_000) }),
      select: `select id, price, repeat('x', case when price = 13 then 1100000 else price end) as note from prices`,
      reason: /cannot be a value in Redis: it takes \d+ bytes of the \d+ that there are/,
    },
    {
      name: 'mongodb',
      skip: mongodbSkip,
      open: async () => targets[1]?.break(),
      row: () => ({ note: 'dotted', 'a.b': 1 }),
      select: `select id, price, repeat('x', case when price = 13 then 17000000 else price end) as note from prices`,
      reason: /cannot be a MongoDB document: "a\.b" has a name with a dot in it|it takes \d+ bytes of the \d+ that there are/,
    },
  ] as const

  for (const { name, skip, open, row, select, reason } of refusals) {
    test.skipIf(skip)(
      `rows that ${name} cannot hold are parked, with the reason, and not tried for ever`,
      async () => {
        const breakable = await broken(open().then((made) => made ?? Promise.reject(new Error('no server'))))
        const store = breakable.open()
        const applied = { totals: 0, prices: 0 }
        const apply = store.apply.bind(store)
        store.apply = async (model, batch) => {
          applied[model.name === 'notes' ? 'totals' : 'prices']++
          return await apply(model, batch)
        }
        let mended = false
        const notes = projection('notes', {
          from: [counter],
          row: typeOf<{ note: string }>(),
          on: {
            Counted: (before, { data }) => (data.by === 13 && !mended ? row() : { ...before, note: `${before?.note ?? ''}${data.by} ` }),
          },
          store,
        })
        const lines = materializedView('lines', {
          row: typeOf<{ id: string; price: number; note: string }>(),
          key: 'id',
          select,
          changedBy: { prices: 'id' },
          store,
        })
        const app = headwater({
          database: lasting(database),
          schema,
          log,
          pollIntervalMs: 10,
          commands,
          readModels: { notes, lines },
          queries: {
            note: query('note', {
              input: typeOf<{ id: string }>(),
              reads: { notes },
              execute: async ({ id }, { notes }) => (await notes.get(id))?.note,
            }),
            line: query('line', {
              input: typeOf<{ id: string }>(),
              reads: { lines },
              execute: async ({ id }, { lines }) => (await lines.get(id))?.price,
            }),
          },
        })
        apps.push(app as unknown as CounterApplication)
        await app.start()
        for (const [id, by] of [
          ['a', 1],
          ['b', 13],
          ['b', 2],
          ['c', 3],
          ['a', 13],
          ['a', 4],
        ] as const) {
          await app.execute('count', { id, by })
          await app.execute('setPrice', { id, price: by })
          // Each by itself: what follows a refused row waits behind it, and does not take its place.
          await app.settle()
        }
        // How far it is in its store is told to the database once a second.
        await expect
          .poll(() => app.readModel('notes').status(), { timeout: 10_000 })
          .toMatchObject({ state: 'live', parked: 2, pending: 0, error: undefined })
        expect((await app.projection('notes').parked()).map(({ key }) => key).sort()).toEqual(['a', 'b'])
        for (const parked of await app.projection('notes').parked()) expect(parked.reason).toMatch(reason)
        expect((await app.query('note', { id: 'c' }, { latest: true })).result).toBe('3 ')
        await expect(app.query('note', { id: 'b' }, { latest: true })).rejects.toMatchObject({
          code: 'parked',
          message: expect.stringMatching(reason),
        })
        expect((await app.query('line', { id: 'b' }, { latest: true })).result).toBe(2)
        await app.execute('setPrice', { id: 'c', price: 13 })
        await app.settle()
        await expect(app.query('line', { id: 'c' }, { latest: true })).rejects.toMatchObject({ code: 'parked' })
        expect(await app.readModel('lines').status()).toMatchObject({ state: 'live', parked: 1, pending: 0, error: undefined })
        const { rows: why } = await database.query<{ key: string; reason: string }>(`select key, reason from "${schema}".parked`)
        expect(why).toEqual([{ key: 'c', reason: expect.stringMatching(reason) }])
        // Everybody is at rest: nothing is sent again.
        const before = { ...applied }
        const { token } = await app.execute('count', { id: 'd', by: 5 })
        expect((await app.query('note', { id: 'd' }, { after: token })).result).toBe('5 ')
        expect(applied.totals - before.totals).toBeLessThan(3)
        expect(applied.prices).toBe(before.prices)
        mended = true
        await app.projection('notes').retry()
        await waitUntil(async () => (await app.readModel('notes').status()).parked === 0)
        await app.settle()
        expect((await app.query('note', { id: 'a' }, { latest: true })).result).toBe('1 13 4 ')
        expect((await app.query('note', { id: 'b' }, { latest: true })).result).toBe('13 2 ')
        const { token: cheaper } = await app.execute('setPrice', { id: 'c', price: 6 })
        expect((await app.query('line', { id: 'c' }, { after: cheaper })).result).toBe(6)
        expect(await app.readModel('lines').status()).toMatchObject({ parked: 0 })
      },
      60_000,
    )
  }
})
