import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Database, headwater, query, type Store, silentLog } from 'headwater'
import { pglite, postgres } from 'headwater/postgres'
import { redis } from 'headwater/redis'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { databaseStore } from '../src/read-model/database-store.ts'
import { balanceOf, commands, expectedRows, farModel, homeModels, type LoggedEvent, noteTable, welcome } from './process/bank.ts'
import { checkBooks } from './support/bank-books.ts'
import { ownClusterMissing } from './support/own-cluster.ts'
import { PostgresServer } from './support/postgres-server.ts'
import { RedisServer } from './support/redis-server.ts'
import { isLong, seed, seeded } from './support/seed.ts'
import { redisMissing } from './support/store-addresses.ts'

const schema = 'headwater'
const refused = /the log was restored or replaced.*readModel\('far_balances'\)\.accept\(\)/

/** The bank with balances in another store, too, as one process runs it. */
function bank(database: Database, store: Store) {
  const far = farModel(store)
  const farBalanceOf = query('farBalanceOf', {
    input: z.object({ id: z.string() }),
    reads: { far },
    execute: ({ id }, { far }) => far.get(id),
  })
  const readModels = { ...homeModels, far }
  const queries = { balanceOf, farBalanceOf }
  return headwater({ database, schema, commands, readModels, queries, reactions: { welcome }, log: silentLog, pollIntervalMs: 10 })
}

type Bank = ReturnType<typeof bank>

/** Commands that a seed decides on; a part of them is refused. Resolves to the last token. */
async function write(app: Bank, random: (below: number) => number, count: number): Promise<string> {
  let token = ''
  for (let n = 0; n < count; n++) {
    const id = `a${random(6)}`
    const sent = `s${random(1_000_000)}`
    const amounts = [random(100), random(100)]
    const send = () =>
      random(4) === 0
        ? app.execute('open', { id, sent, owner: `o${random(3)}` })
        : app.execute('move', { id, sent, amounts, to: `t${random(4)}` })
    const executed = await send().catch(() => undefined)
    token = executed?.token ?? token
  }
  // Whatever was refused, something was written last.
  return (await app.execute('note', { id: 'n', sent: `n${random(1_000_000)}`, parts: 1, refused: false })).token ?? token
}

const modelOf = { owner: schema, name: 'far_balances', version: 1, indexes: [{ name: 'byOwner', fields: ['owner'] }] }

/** What the store holds: the checkpoint, and the rows by key. */
async function stored(store: Store) {
  const { checkpoint, rows } = await store.range(modelOf, { index: undefined, from: '', to: '\u{10ffff}', reverse: false, limit: 500 })
  return { position: checkpoint?.position, rows: Object.fromEntries(rows.map(({ key, row }) => [key, JSON.parse(row) as unknown])) }
}

async function logged(database: Database): Promise<readonly LoggedEvent[]> {
  const sql = `select position, id, stream, version, type, data from ${schema}.event order by position`
  return (await database.query<LoggedEvent>(sql)).rows
}

const balancesOf = (events: readonly LoggedEvent[]) =>
  Object.fromEntries(Object.entries(expectedRows(events).balances).map(([key, { row }]) => [key, row]))

async function homeRows(database: Database, table: string): Promise<object> {
  const { rows } = await database.query<{ key: string; row: unknown }>(`select key, row from ${schema}.${table}`)
  return Object.fromEntries(rows.map(({ key, row }) => [key, row]))
}

const statusOf = async (app: Bank) => (await app.status()).readModels.find(({ name }) => name === 'far_balances')

/** The read model that was ahead is stopped, says what to do, and neither answers nor changes, whatever is written and however often it is started. */
async function expectRefused(app: Bank, store: Store, before: object): Promise<void> {
  await expect
    .poll(async () => await statusOf(app), { timeout: 30_000 })
    .toMatchObject({
      state: 'stopped',
      error: expect.stringMatching(refused),
    })
  await expect(app.query('farBalanceOf', { id: 'a1' })).rejects.toMatchObject({ code: 'stopped' })
  await expect(app.query('farBalanceOf', { id: 'a1' }, { latest: true })).rejects.toMatchObject({ code: 'stopped' })
  expect(await stored(store)).toEqual(before)
}

/** What is in the database itself was restored with the log, and goes on: read models, and what reacts. */
async function expectHome(app: Bank, database: Database): Promise<void> {
  await app.settle()
  const events = await logged(database)
  const expected = balancesOf(events)
  const welcomed = events.filter(({ stream }) => stream === 'journal-welcome').map(({ data }) => data.sent)
  expect(welcomed.toSorted()).toEqual(events.flatMap(({ type, id }) => (type === 'Opened' ? [`welcome ${id}`] : [])).toSorted())
  expect(Object.keys(expected).length).toBeGreaterThan(1)
  expect(await homeRows(database, 'balances')).toEqual(expected)
  expect(await homeRows(database, 'now_balances')).toEqual(expected)
}

async function expectAccepted(app: Bank, database: Database, store: Store): Promise<void> {
  await app.projection('far_balances').accept()
  await app.settle()
  expect(await statusOf(app)).toMatchObject({ state: 'live' })
  const events = await logged(database)
  expect(await stored(store)).toEqual({ position: events.length, rows: balancesOf(events) })
  const { result } = await app.query('farBalanceOf', { id: 'a1' }, { latest: true })
  expect(result).toEqual(balancesOf(events).a1)
  expect((await app.projection('far_balances').verify()).differences).toEqual([])
}

/** From where a test left the bank before it was restored: what the other store holds, and the token of the last write, which is lost. */
interface Lost {
  readonly far: object
  readonly token: string
}

/** The bank on a restored database, and everything that has to hold there. */
async function expectRestored(
  open: () => Promise<{ readonly app: Bank; readonly database: Database }>,
  store: Store,
  lost: Lost,
  random: (below: number) => number,
): Promise<void> {
  const first = await open()
  await expectRefused(first.app, store, lost.far)
  await expect(first.app.query('balanceOf', { id: 'a1' }, { after: lost.token })).rejects.toMatchObject({
    code: expect.stringMatching(/^(other_generation|ahead)$/),
  })
  await expectHome(first.app, first.database)
  // Past the position at which the lost log ended: there is an event at the checkpoint again, but another one.
  await write(first.app, random, 60)
  await expectHome(first.app, first.database)
  await expectRefused(first.app, store, lost.far)
  await expect(first.app.query('balanceOf', { id: 'a1' }, { after: lost.token })).rejects.toMatchObject({ code: 'other_generation' })
  await first.app.stop()

  const second = await open()
  await expectRefused(second.app, store, lost.far)
  await second.app.projection('far_balances').resume()
  await expectRefused(second.app, store, lost.far)
  await expectAccepted(second.app, second.database, store)
  await write(second.app, random, 10)
  await second.app.settle()
  expect((await stored(store)).rows).toEqual(balancesOf(await logged(second.database)))
  await second.app.stop()
}

const noRedis = await redisMissing()

describe.skipIf(ownClusterMissing)(`a server that was restored, seed ${seed}`, () => {
  const random = seeded(seed)
  let server: PostgresServer
  let another: PostgresServer
  let redisServer: RedisServer | undefined
  const opened: Database[] = []
  const stores: Store[] = []
  beforeAll(async () => {
    server = await PostgresServer.start()
    another = await PostgresServer.start()
    if (!noRedis) redisServer = await RedisServer.start()
  })
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close?.()))
    await Promise.all(opened.splice(0).map((database) => database.close()))
  })
  afterAll(async () => {
    await redisServer?.stop()
    await server.remove()
    await another.remove()
  })

  function connect(url: string): Database {
    const database = postgres(url, { poolSize: 4 })
    opened.push(database)
    return database
  }

  async function open(url: string, store: Store) {
    const app = bank(postgres(url, { poolSize: 6 }), store)
    await app.start()
    return { app, database: connect(url) }
  }

  /** The same store, opened as often as is wanted: an application closes the one that it was given. */
  type Opening = () => Store

  let names = 0
  const freshName = (of: string) => `${of}_${++names}`

  const kinds: readonly { readonly name: string; readonly skip: string | false; readonly make: () => Promise<Opening> }[] = [
    {
      name: 'Redis',
      skip: noRedis,
      make: async () => {
        const prefix = `${freshName('restore')}:`
        return () => redis(redisServer?.url ?? '', { prefix })
      },
    },
    {
      name: 'another PostgreSQL database',
      skip: false,
      make: async () => {
        const elsewhere = connect(await another.createDatabase(freshName('far')))
        return () => databaseStore(elsewhere, 'far', { home: false })
      },
    },
  ]

  for (const { name: kind, skip, make } of kinds) {
    describe.skipIf(skip)(`with a read model in ${kind} that is ahead of it`, () => {
      /** The long form has all of them. */
      const testWhen = (isShort: boolean) => test.skipIf(!isShort && !isLong)
      const isRedis = kind === 'Redis'
      let openStore: Opening
      /** To look into. */
      let store: Store
      let origin: string
      /** Of the log as it was when it was dumped. */
      let file: string
      let lost: Lost
      let running: Bank

      /** A bank that is dumped, and goes on for a while. */
      async function prepare(): Promise<void> {
        openStore = await make()
        store = openStore()
        stores.push(store)
        origin = freshName('bank')
        const url = await server.createDatabase(origin)
        const { app, database } = await open(url, openStore())
        running = app
        await database.query(noteTable)
        await write(app, random, 40)
        await app.settle()
        file = await server.dump(origin)
        const token = await write(app, random, 20)
        await app.settle()
        lost = { far: await stored(store), token }
        expect(lost.far).toEqual({ position: (await logged(database)).length, rows: balancesOf(await logged(database)) })
      }

      testWhen(isRedis)('into a fresh cluster', async () => {
        await prepare()
        await running.stop()
        const url = await another.restore(file, freshName('bank'))
        await expectRestored(() => open(url, openStore()), store, lost, random)
      })

      testWhen(false)('into the same cluster, as another database', async () => {
        await prepare()
        await running.stop()
        const url = await server.restore(file, freshName('bank'))
        await expectRestored(() => open(url, openStore()), store, lost, random)
      })

      testWhen(false)('into the same cluster, in the place of the database', async () => {
        await prepare()
        await running.stop()
        await server.dropDatabase(origin)
        const url = await server.restore(file, origin)
        await expectRestored(() => open(url, openStore()), store, lost, random)
      })

      testWhen(isRedis)('in the place of the database, under an application that runs on', async () => {
        await prepare()
        await server.dropDatabase(origin)
        const url = await server.restore(file, origin)
        const database = connect(url)
        // It is written to past where its log ended before anybody could look.
        const writer = headwater({ database: postgres(url), schema, commands, readModels: homeModels, log: silentLog })
        await writer.start({ roles: ['commands'] })
        await write(writer as unknown as Bank, random, 60)
        await writer.stop()
        expect((await logged(database)).length).toBeGreaterThan((lost.far as { position: number }).position)
        await expectRefused(running, store, lost.far)
        const tokenTold = () =>
          running.query('balanceOf', { id: 'a1' }, { after: lost.token }).then(
            () => 'answered',
            ({ code }: { code: string }) => code,
          )
        await expect.poll(tokenTold, { timeout: 10_000 }).toBe('other_generation')
        await write(running, random, 10)
        await expectHome(running, database)
        await expectRefused(running, store, lost.far)
        await expectAccepted(running, database, store)
        await running.stop()
      })

      testWhen(!isRedis)('in the place of the database, and nobody writes to it but an application that runs on', async () => {
        await prepare()
        await server.dropDatabase(origin)
        const database = connect(await server.restore(file, origin))
        const { length: restored } = await logged(database)
        await expectRefused(running, store, lost.far)
        // What it remembers of accounts is of the lost log, too.
        await write(running, random, 10)
        const events = await logged(database)
        expect(events.length).toBeGreaterThan(restored)
        checkBooks({ told: [] }, events)
        await expectHome(running, database)
        await expectAccepted(running, database, store)
        await running.stop()
      })

      testWhen(false)('a new version of the read model is built from the restored log, without a word', async () => {
        await prepare()
        await running.stop()
        const url = await server.restore(file, freshName('bank'))
        const first = await open(url, openStore())
        await expectRefused(first.app, store, lost.far)
        await first.app.stop()
        const newer = farModel(openStore())
        const far = { ...newer, '~projection': { ...newer['~projection'], version: 2 } }
        const database = connect(url)
        const app = headwater({ database: postgres(url), schema, commands, readModels: { far }, log: silentLog })
        await app.start()
        await app.settle()
        const model = { ...modelOf, version: 2 }
        const built = await store.range(model, { index: undefined, from: '', to: '\u{10ffff}', reverse: false, limit: 500 })
        expect(Object.fromEntries(built.rows.map(({ key, row }) => [key, JSON.parse(row) as unknown]))).toEqual(
          balancesOf(await logged(database)),
        )
        expect((await app.projection('far_balances').status()).state).toBe('live')
        await app.stop()
      })
    })
  }
})

describe.skipIf(noRedis)(`a PGlite directory that was copied, seed ${seed}`, () => {
  const random = seeded(seed)
  let redisServer: RedisServer
  let directory: string
  beforeAll(async () => {
    redisServer = await RedisServer.start()
    directory = await mkdtemp(join(tmpdir(), 'headwater-copy-'))
  })
  afterAll(async () => {
    await redisServer.stop()
    await rm(directory, { recursive: true, force: true })
  })

  test('a read model that is ahead of the copy refuses to go on until told', async () => {
    const store = redis(redisServer.url)
    const open = async (name: string) => {
      const database = pglite(join(directory, name))
      const app = bank(database, redis(redisServer.url))
      await app.start()
      return { app, database }
    }
    const first = await open('origin')
    await first.database.query(noteTable)
    await write(first.app, random, 40)
    await first.app.settle()
    await first.app.stop()
    await cp(join(directory, 'origin'), join(directory, 'copy'), { recursive: true })
    const again = await open('origin')
    const token = await write(again.app, random, 20)
    await again.app.settle()
    await again.app.stop()
    const lost = { far: await stored(store), token }
    await expectRestored(() => open('copy'), store, lost, random)
    await store.close()
  })
})
