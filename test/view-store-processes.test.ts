import { type Database, headwater, type MaterializedView, silentLog } from 'headwater'
import { redis } from 'headwater/redis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { randomTables, randomViews } from './process/random-writes.ts'
import { wrongStoredViews } from './process/stored-views.ts'
import { type Child, startChild } from './support/child.ts'
import { databases, freshSchema, lasting, postgresUrl } from './support/databases.ts'
import { redisMissing, redisUrl } from './support/store-addresses.ts'

const server = databases.find(({ name }) => name === 'postgres')
const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)
const missing = await redisMissing()

describe.skipIf(server?.skip || missing)(`views in Redis kept by several processes, seed ${seed}`, () => {
  let database: Database
  let schema: string
  let tables: string
  const children = new Set<Child>()

  beforeEach(async () => {
    if (!server) throw new Error('no server')
    schema = freshSchema()
    database = await server.open()
    tables = (await database.query<{ schema: string }>('select current_schema() as schema')).rows[0]?.schema ?? ''
    await database.query(randomTables)
  })

  afterEach(async () => {
    for (const child of children) child.process.kill('SIGKILL')
    children.clear()
    await database.query(`drop schema if exists "${schema}" cascade`).catch(() => undefined)
    await database.close()
  })

  function start(name: string, argument: Readonly<Record<string, unknown>>): Child {
    const child = startChild(name, { url: postgresUrl, tables, schema, ...argument })
    children.add(child)
    return child
  }

  test('workers killed at random while others write: every view is its SELECT in the end, and was never filled anew', async () => {
    const prefix = `${schema}:`
    let random = seed
    const next = (below: number) => {
      random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff
      return random % below
    }
    let workers = [start('store-worker', { redisUrl, prefix }), start('store-worker', { redisUrl, prefix })]
    await Promise.all(workers.map((worker) => worker.line()))
    // A filling begins by noting when.
    const begun = async () => (await database.query(`select id, build_started_at from "${schema}".view order by id`)).rows
    const once = await begun()
    const writers = [1, 2].map((i) => start('writer', { seed: seed + i, runs: 40 }))
    let writing = true
    const written = Promise.all(writers.map((writer) => writer.exited())).then((codes) => {
      writing = false
      return codes
    })
    let kills = 0
    while (writing || kills < 3) {
      const victim = workers[next(workers.length)]
      await Promise.race([written, new Promise((resolve) => setTimeout(resolve, next(300)))])
      if (!victim) break
      victim.process.kill('SIGKILL')
      kills++
      const fresh = start('store-worker', { redisUrl, prefix })
      workers = [...workers.filter((worker) => worker !== victim), fresh]
      await fresh.line()
    }
    expect(await written).toEqual([0, 0])
    expect(kills).toBeGreaterThan(2)
    const store = redis(redisUrl, { prefix })
    const views = Object.values(randomViews('async')) as unknown as readonly MaterializedView[]
    const app = headwater({
      database: lasting(database),
      schema,
      readModels: Object.fromEntries(views.map((view) => [view.readModelName, { ...view, '~view': { ...view['~view'], store } }])),
      log: silentLog,
    })
    await app.start()
    await app.settle()
    expect(await wrongStoredViews(database, store, schema)).toEqual([])
    expect((await app.status()).readModels.filter(({ state, error, version }) => state !== 'live' || error || version !== 1)).toEqual([])
    expect(await begun()).toEqual(once)
    for (const worker of workers) worker.process.kill('SIGTERM')
    expect(await Promise.all(workers.map((worker) => worker.exited()))).toEqual([0, 0])
    await app.uninstall()
    await store.close()
  }, 120_000)
})
