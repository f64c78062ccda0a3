import { type Database, headwater, type Store, silentLog } from 'headwater'
import { mongodb } from 'headwater/mongodb'
import { postgresStore } from 'headwater/postgres'
import { redis } from 'headwater/redis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { StoreAddresses } from './process/counter-worker.ts'
import { places, priceTables } from './process/counters.ts'
import { type Child, startChild } from './support/child.ts'
import { askOwnWrites, type CounterApplication, expectedRows, storedRows } from './support/counters.ts'
import { databases, freshSchema, lasting, postgresUrl } from './support/databases.ts'
import { isLong, seed, seeded } from './support/seed.ts'
import { mongodbUrl, redisMissing, redisUrl } from './support/store-addresses.ts'
import { isFerret, run, stores } from './support/stores.ts'
import { pause } from './support/wait.ts'

const server = databases.find(({ name }) => name === 'postgres')
const redisSkip = await redisMissing()
const mongodbSkip = stores.find(({ name }) => name === 'mongodb')?.skip ?? false

describe.skipIf(server?.skip || redisSkip)(`read models in several stores, kept by several processes, seed ${seed}`, () => {
  let database: Database
  let schema: string
  let tables: string
  let addresses: StoreAddresses
  let opened: Record<string, Store>
  let app: CounterApplication
  const children = new Set<Child>()
  const random = seeded(seed)

  beforeEach(async () => {
    if (!server) throw new Error('no server')
    schema = freshSchema()
    database = await server.open()
    tables = (await database.query<{ schema: string }>('select current_schema() as schema')).rows[0]?.schema ?? ''
    await database.query(priceTables)
    opened = {}
  })

  afterEach(async () => {
    for (const child of children) child.process.kill('SIGKILL')
    await Promise.all([...children].map((child) => child.exited()))
    children.clear()
    await app.uninstall().catch(() => app.stop())
    await database.query(`drop schema if exists "${schema}" cascade`)
    await database.close()
  })

  /** The application that writes and asks, without keeping anything in step itself. */
  async function start(wanted: { readonly mongodb: boolean }): Promise<void> {
    const rows = freshSchema('rows')
    addresses = {
      redis: { url: redisUrl, prefix: `${schema}:` },
      postgres: { url: postgresUrl, schema: rows },
      ...(wanted.mongodb ? { mongodb: { url: mongodbUrl, database: run } } : {}),
    }
    opened.redis = redis(redisUrl, { prefix: `${schema}:` })
    opened.postgres = postgresStore(postgresUrl, { schema: rows })
    if (wanted.mongodb) opened.mongodb = mongodb(mongodbUrl, { database: run })
    app = headwater({
      database: lasting(database),
      schema,
      log: silentLog,
      pollIntervalMs: 10,
      ...places(opened),
    }) as unknown as CounterApplication
    await app.start({ roles: ['commands', 'queries'] })
  }

  async function worker(): Promise<Child> {
    const child = startChild('counter-worker', { url: postgresUrl, tables, schema, stores: addresses })
    children.add(child)
    await child.line()
    return child
  }

  /** As if the leases of the dead had run out: to wait for that with each of them would take long. */
  async function lapse(): Promise<void> {
    await database.query(`update "${schema}".checkpoint set owner = null, lease_until = null`)
    await database.query(`update "${schema}".view_store set owner = null, lease_until = null`)
    await database.query(`delete from "${schema}".projector`)
    await database.query(`delete from "${schema}".view_worker`)
  }

  /** Until each read model has everything and nothing waits. */
  async function level(): Promise<void> {
    for (;;) {
      const { readModels } = await app.status()
      const stopped = readModels.find(({ state }) => state === 'stopped')
      if (stopped) throw new Error(`${stopped.name}: ${stopped.error}`)
      if (
        readModels.length === 2 * Object.keys(opened).length &&
        readModels.every(({ state, pending }) => state === 'live' && pending === 0)
      )
        return
      await pause(50)
    }
  }

  async function expectRight(): Promise<void> {
    const expected = await expectedRows(database, schema)
    for (const [name, store] of Object.entries(opened)) expect([name, await storedRows(store, schema, name)]).toEqual([name, expected])
  }

  test.skipIf(mongodbSkip)(
    'killed at random while clients write: every read model is its fold or its SELECT, and no answer is from before a write',
    async () => {
      await start({ mongodb: true })
      const workers = await Promise.all([worker(), worker(), worker()])
      await level()
      let done = false
      const clients = Promise.all(
        [1, 2].map((i) => askOwnWrites(app, { places: Object.keys(opened), client: `c${i}`, random: seeded(seed + i), until: () => done })),
      )
      const wanted = isLong ? 200 : 8
      for (let kills = 0; kills < wanted; kills++) {
        // Long enough, now and then, for somebody to take over before the next dies.
        await pause(random(4) === 0 ? random(4000) : random(300))
        const at = random(workers.length)
        const victim = workers[at]
        victim?.process.kill('SIGKILL')
        if (victim) children.delete(victim)
        workers[at] = await worker()
      }
      done = true
      const asked = await clients
      expect(asked.flatMap(({ wrong }) => wrong)).toEqual([])
      expect(asked.reduce((sum, { answered }) => sum + answered, 0)).toBeGreaterThan(wanted)
      await level()
      await expectRight()
      for (const each of workers) each.process.kill('SIGTERM')
      expect(await Promise.all(workers.map((each) => each.ended()))).toEqual(workers.map(() => 'well'))
    },
    isLong ? 1_200_000 : 120_000,
  )

  test(
    'killed while they build, in their first batch too: the next goes on, and every read model is its fold or its SELECT',
    async () => {
      await start({ mongodb: !mongodbSkip })
      const counters = Array.from({ length: 3000 }, (_, i) => `k${i}`)
      for (let i = 0; i < counters.length; i += 100)
        await Promise.all(counters.slice(i, i + 100).map((id) => app.execute('count', { id, by: 1 })))
      await database.query(`insert into prices select 'k' || n, n, 1 from generate_series(1, 3000) n`)
      for (let kills = 0; kills < (isLong ? 40 : 6); kills++) {
        const victim = await worker()
        await pause(random(400))
        victim.process.kill('SIGKILL')
        await victim.exited()
        children.delete(victim)
        await lapse()
        await app.execute('count', { id: `k${random(3000)}`, by: 2 })
      }
      await worker()
      await level()
      await expectRight()
    },
    isLong ? 600_000 : 120_000,
  )

  test(
    `owners that sleep past their lease: what they wake with counts nothing${isFerret ? ' (MongoDB left out: FerretDB 1 has no atomic compare-and-set)' : ''}`,
    async () => {
      await start({ mongodb: !mongodbSkip && !isFerret })
      const workers = [await worker()]
      await level()
      for (let round = 0; round < (isLong ? 12 : 2); round++) {
        const sleeping = workers[0]
        const clients = askOwnWrites(app, {
          places: Object.keys(opened),
          client: `c${round}`,
          random: seeded(seed + round),
          until: (at) => at >= 25,
        })
        await pause(random(150))
        sleeping?.process.kill('SIGSTOP')
        const other = await worker()
        const { wrong, answered } = await clients
        expect(wrong).toEqual([])
        expect(answered).toBeGreaterThan(0)
        await level()
        await expectRight()
        // It goes on with what it had in hand, while the other owner is at work.
        const more = askOwnWrites(app, {
          places: Object.keys(opened),
          client: `d${round}`,
          random: seeded(seed - round),
          until: (at) => at >= 25,
        })
        sleeping?.process.kill('SIGCONT')
        expect((await more).wrong).toEqual([])
        await level()
        await expectRight()
        sleeping?.process.kill('SIGKILL')
        if (sleeping) children.delete(sleeping)
        workers[0] = other
      }
    },
    isLong ? 600_000 : 120_000,
  )

  test('a process whose application was stopped ends by itself, and a store that two applications share outlives the first', async () => {
    await start({ mongodb: !mongodbSkip })
    const child = await worker()
    const { token } = await app.execute('count', { id: 'a', by: 3 })
    await level()
    child.process.kill('SIGTERM')
    expect(await child.ended()).toBe('well')
    const other = headwater({ database: lasting(database), schema, log: silentLog, ...places(opened) }) as unknown as CounterApplication
    await other.start({ roles: ['queries'] })
    await app.stop()
    for (const name of Object.keys(opened)) {
      expect((await other.query(`total_${name}`, { id: 'a' }, { after: token })).result).toEqual({ total: 3, events: 1 })
    }
    await other.uninstall()
    for (const store of Object.values(opened)) {
      await expect(store.load({ owner: schema, name: 'totals_redis', version: 1, indexes: [] }, [])).rejects.toMatchObject({
        code: 'usage',
      })
    }
  }, 60_000)
})
