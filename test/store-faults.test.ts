import { type Database, headwater, type Log, materializedView, projection, query, type Role, type Store, type as typeOf } from 'headwater'
import { memory } from 'headwater/memory'
import { mongodb } from 'headwater/mongodb'
import { postgres, postgresStore } from 'headwater/postgres'
import { redis } from 'headwater/redis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { commands, counter, places, priceTables } from './process/counters.ts'
import { askOwnWrites, type CounterApplication, expectedRows, storedRows } from './support/counters.ts'
import { databases, freshSchema, lasting, postgresUrl } from './support/databases.ts'
import { RedisServer } from './support/redis-server.ts'
import { isLong, type Random, seed, seeded } from './support/seed.ts'
import { mongodbUrl, redisMissing } from './support/store-addresses.ts'
import { run, stores } from './support/stores.ts'
import { TcpProxy } from './support/tcp-proxy.ts'

const server = databases.find(({ name }) => name === 'postgres')
const redisSkip = await redisMissing()
const mongodbSkip = stores.find(({ name }) => name === 'mongodb')?.skip ?? false

/** A server with something before it that a test can break. */
interface Breakable {
  readonly proxy: TcpProxy
  /** Through the proxy. */
  open(): Store
  /** Past it. */
  direct(): Store
  /** Ends connections at the server, where that can be asked for. */
  hangUp?(): Promise<unknown>
  close(): Promise<void>
}

interface Target {
  readonly name: 'redis' | 'mongodb' | 'postgres'
  readonly skip: string | false | undefined
  break(): Promise<Breakable>
}

/** A server that is slow for another reason must not be taken for one that is silent. */
const answerTimeoutMs = 800

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

async function breakableRedis(...settings: readonly string[]): Promise<Breakable & { readonly server: RedisServer }> {
  const own = await RedisServer.start(...settings)
  const { hostname: host, port } = new URL(own.url)
  const proxy = await TcpProxy.open({ host, port: Number(port), raw: true })
  return {
    server: own,
    proxy,
    open: () => redis(`redis://127.0.0.1:${proxy.port}`, { answerTimeoutMs }),
    direct: () => redis(own.url),
    hangUp: () => own.control.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes']),
    close: async () => {
      await proxy.close()
      await own.stop()
    },
  }
}

describe.skipIf(server?.skip)(`stores that fail, seed ${seed}`, () => {
  let database: Database
  let schema: string
  let random: Random
  const apps: CounterApplication[] = []
  const closing: (() => Promise<unknown>)[] = []
  /** What was said of what, and for how long to wait before it is tried again. */
  const said: { readonly message: string; readonly tryAgainMs: number | undefined }[] = []
  const log: Log = (_level, message, details) => {
    said.push({ message, tryAgainMs: (details as { tryAgainMs?: number } | undefined)?.tryAgainMs })
    if (process.env.LOUD) process.stdout.write(`${message} ${JSON.stringify(details ?? {})}\n`)
  }

  beforeEach(async () => {
    if (!server) throw new Error('no server')
    database = await server.open()
    schema = freshSchema()
    random = seeded(seed)
    said.splice(0)
    await database.query(priceTables)
  })

  afterEach(async () => {
    for (const app of apps.splice(0)) await app.stop()
    for (const close of closing.splice(0).reverse()) await close()
    await database.query(`drop schema if exists "${schema}" cascade`)
    await database.close()
  })

  function application(kept: Readonly<Record<string, Store | undefined>>, on: Database = database): CounterApplication {
    const app = headwater({ database: lasting(on), schema, log, pollIntervalMs: 10, ...places(kept) }) as unknown as CounterApplication
    apps.push(app)
    return app
  }

  async function started(kept: Readonly<Record<string, Store | undefined>>, roles?: readonly Role[], on?: Database) {
    const app = application(kept, on)
    await app.start(roles ? { roles } : {})
    return app
  }

  async function broken<B extends Breakable>(breakable: Promise<B>): Promise<B> {
    const made = await breakable
    closing.push(() => made.close())
    return made
  }

  /** Processes know a store by its address, which is another past the proxy. */
  function direct(breakable: Breakable): Store {
    const store = Object.assign(breakable.direct(), { description: breakable.open().description })
    closing.push(async () => store.close?.())
    return store
  }

  async function fill(app: CounterApplication, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      await app.execute('count', { id: `k${i}`, by: 1 + (i % 7) })
      await app.execute('setPrice', { id: `k${i}`, price: 1 + (i % 7) })
    }
  }

  /** How the read models of a place are. */
  async function statusesOf(app: CounterApplication, name: string) {
    const { readModels } = await app.status()
    return readModels.filter((status) => status.name === `totals_${name}` || status.name === `prices_${name}`)
  }

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
            await pause(20 + random(200))
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
        isLong ? 600_000 : 90_000,
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

  describe.skipIf(redisSkip)('a Redis that forgets', () => {
    test('emptied while nobody writes: it answers "building" until all is there again, never a part', async () => {
      const breakable = await broken(breakableRedis())
      const app = await started({ away: breakable.open(), home: undefined })
      await fill(app, 30)
      await app.settle()
      const reader = await started({ away: direct(breakable), home: undefined }, ['queries'])
      await waitUntil(async () => (await reader.query('totals_away', {})).result === 30)
      // Whoever fills it again needs longer for one message than the reader for its question.
      breakable.proxy.delayMs = 100
      await breakable.server.control.flushAll()
      const seen = { totals_away: new Set<unknown>(), prices_away: new Set<unknown>() }
      for (const query of ['totals_away', 'prices_away'] as const) seen[query].add(await outcome(reader, query))
      breakable.proxy.delayMs = 5
      await waitUntil(async () => {
        for (const query of ['totals_away', 'prices_away'] as const) seen[query].add(await outcome(reader, query))
        return seen.totals_away.has(30) && seen.prices_away.has(30)
      })
      expect(seen).toEqual({ totals_away: new Set(['building', 30]), prices_away: new Set(['building', 30]) })
      expect((await reader.query('totals_home', {})).result).toBe(30)
      await app.settle()
      expect(await storedRows(direct(breakable), schema, 'away')).toEqual(await expectedRows(database, schema))
      for (const name of ['totals_away', 'prices_away']) {
        expect((await app.readModel(name).verify()).differences).toEqual([])
        expect(await app.readModel(name).status()).toMatchObject({ state: 'live', error: undefined })
      }
    }, 60_000)

    test('killed, and back from an older copy of itself: noticed and mended, and no token is answered from before it', async () => {
      const breakable = await broken(breakableRedis())
      const app = await started({ away: breakable.open(), home: undefined })
      await fill(app, 10)
      await app.settle()
      for (let round = 0; round < (isLong ? 10 : 2); round++) {
        await breakable.server.snapshot()
        const id = `k${random(10)}`
        await app.execute('count', { id, by: 0 })
        const { token: first } = await app.execute('count', { id, by: 100 + round })
        const { token } = await app.execute('setPrice', { id, price: 100 + round }, { after: first })
        await app.settle()
        const reader = await started({ away: direct(breakable), home: undefined }, ['queries'])
        const right = { total: 100 + round, events: 1 }
        await waitUntil(async () => (await outcome(reader, 'total_away', { id }, token)) !== 'behind')
        expect((await reader.query('total_away', { id })).result).toEqual(right)
        await breakable.server.kill()
        breakable.proxy.delayMs = 20
        await breakable.server.start()
        const answers: unknown[] = []
        // Without a token too: what this process has seen there it does not take back.
        await waitUntil(async () => {
          answers.push(await outcome(reader, 'total_away', { id }))
          const total = await outcome(reader, 'total_away', { id }, token, 0)
          const price = await outcome(reader, 'price_away', { id }, token, 0)
          answers.push(total)
          expect(typeof price === 'string' || (price as { price: number }).price === 100 + round).toBe(true)
          return typeof total !== 'string' && typeof price !== 'string'
        })
        expect(
          answers.filter((answer) => typeof answer !== 'string').every((answer) => JSON.stringify(answer) === JSON.stringify(right)),
        ).toBe(true)
        breakable.proxy.delayMs = 0
        await app.settle()
        expect(await storedRows(direct(breakable), schema, 'away')).toEqual(await expectedRows(database, schema))
        expect(await statusesOf(app, 'away')).toMatchObject(Array(2).fill({ state: 'live', error: undefined }))
      }
    }, 120_000)
  })

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

  test('an owner that sleeps past its lease, in memory: what it wakes with counts nothing', async () => {
    const inner = memory()
    const bed = sleeper()
    const sleeping = await started({ away: bed.store(inner), home: undefined }, undefined, bed.database(database))
    await fill(sleeping, 5)
    await sleeping.settle()
    const writer = await started({ away: inner, home: undefined }, ['commands', 'queries'])
    for (let round = 0; round < (isLong ? 10 : 2); round++) {
      const clients = askOwnWrites(writer, { places: ['home', 'away'], client: `c${round}`, random, until: (at) => at >= 30 })
      await pause(random(60))
      bed.sleep()
      const other = await started({ away: inner, home: undefined })
      const { wrong, answered } = await clients
      await other.settle()
      expect(wrong).toEqual([])
      expect(answered).toBeGreaterThan(0)
      expect(await storedRows(inner, schema, 'away')).toEqual(await expectedRows(database, schema))
      bed.wake()
      await askOwnWrites(writer, { places: [], client: `d${round}`, random, until: (at) => at >= 10 })
      await other.settle()
      expect(await storedRows(inner, schema, 'away')).toEqual(await expectedRows(database, schema))
      await other.stop()
      apps.splice(apps.indexOf(other), 1)
    }
  }, 120_000)
})

/** A code where it fails, else the result. */
async function outcome(app: CounterApplication, query: string, input: object = {}, after?: string, waitMs?: number): Promise<unknown> {
  try {
    return (await app.query(query, input, { ...(after === undefined ? {} : { after }), ...(waitMs === undefined ? {} : { waitMs }) }))
      .result
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : String(error)
  }
}

/** A process that can be put to sleep: nothing it asks a database or a store for goes out before it wakes. */
function sleeper() {
  let asleep: Promise<void> | undefined
  let wake = () => {}
  const up = async <T>(work: () => Promise<T>): Promise<T> => {
    await asleep
    return await work()
  }
  return {
    sleep() {
      asleep = new Promise((resolve) => {
        wake = resolve
      })
    },
    wake() {
      asleep = undefined
      wake()
    },
    database: (inner: Database): Database => ({
      traits: inner.traits,
      query: (...call) => up(() => inner.query(...call)) as never,
      transaction: (...call) => up(() => inner.transaction(...call)),
      close: async () => undefined,
    }),
    store: (inner: Store): Store => ({
      description: inner.description,
      load: (...call) => up(() => inner.load(...call)),
      range: (...call) => up(() => inner.range(...call)),
      apply: (...call) => up(() => inner.apply(...call)),
      drop: (...call) => up(() => inner.drop(...call)),
      checkpoints: (model) => up(async () => (await inner.checkpoints?.(model)) ?? []),
    }),
  }
}

async function waitUntil(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await pause(10)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
