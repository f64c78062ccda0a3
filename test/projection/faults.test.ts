import { type Database, headwater, isHeadwaterError, silentLog } from 'headwater'
import { postgres } from 'headwater/postgres'
import { redis } from 'headwater/redis'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { commands, expectedRows, farModel, homeModels, noteTable } from '../process/bank.ts'
import type { BankProjector } from '../process/bank-projector.ts'
import { type BankBooks, checkBooks, checkNotes, readBooks } from '../support/bank-books.ts'
import { type Child, onLine, startChild } from '../support/child.ts'
import { MoveAudit } from '../support/move-audit.ts'
import { ownClusterMissing } from '../support/own-cluster.ts'
import { PostgresServer } from '../support/postgres-server.ts'
import { isLong, type Random, seed, seeded, shuffled } from '../support/seed.ts'
import { redisMissing, redisUrl } from '../support/store-addresses.ts'

const kills = isLong ? 200 : 6
/** What happens to the processes and to the server, beside the kills. */
const others = isLong ? { cut: 60, sleep: 20, crash: 15, writer: 20, expire: 60 } : { cut: 3, sleep: 1, crash: 1, writer: 1, expire: 2 }

type Fault = 'kill' | keyof typeof others

const noRedis = await redisMissing()
const schema = 'headwater'

describe.skipIf(ownClusterMissing)(`projections under faults, seed ${seed}`, () => {
  let server: PostgresServer
  let database: Database
  const children = new Set<Child>()

  beforeAll(async () => {
    server = await PostgresServer.start()
    database = postgres(server.url(), { poolSize: 4, applicationName: 'judge' })
  })
  afterEach(async () => {
    for (const child of children) child.process.kill('SIGKILL')
    await Promise.all([...children].map((child) => child.exited()))
    children.clear()
  })
  afterAll(async () => {
    await database.close()
    await server.remove()
  })

  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

  /** On a server that may be starting. */
  async function ask<R extends object>(sql: string, values: readonly unknown[] = []): Promise<readonly R[]> {
    for (;;) {
      try {
        return (await database.query<R>(sql, [...values])).rows
      } catch (error) {
        if (!isHeadwaterError(error) || error.code !== 'database_unavailable') throw error
        await pause(50)
      }
    }
  }

  const books: BankBooks = { told: [] }
  const far: BankProjector['redis'] = noRedis ? undefined : { url: redisUrl, prefix: `test_faults_${process.pid}_${seed}:` }

  function start(name: string, argument: object): Child {
    const child = startChild(name, { url: server.url(), schema, ...argument })
    children.add(child)
    return child
  }

  const startProjector = () => start('bank-projector', { redis: far })

  let writersStarted = 0
  function startWriter(): Child {
    const name = `w${writersStarted++}`
    const argument = { tables: 'public', name, seed: seed + writersStarted * 31, accounts: 12, senders: 3, rounds: 1_000_000, pauseMs: 40 }
    const child = start('bank-writer', argument)
    onLine(child, (line) => books.told.push(JSON.parse(line)))
    return child
  }

  /** What goes wrong, one thing after the other, and for how long nothing does before. */
  class Faults {
    readonly #random: Random
    readonly #projectors: Child[]
    readonly #writers: Child[]
    readonly #asleep = new Map<Child, Promise<void>>()
    readonly done = new Map<Fault, number>()

    constructor(random: Random, projectors: Child[], writers: Child[]) {
      this.#random = random
      this.#projectors = projectors
      this.#writers = writers
    }

    async run(): Promise<void> {
      const plan: readonly Fault[] = Object.entries({ kill: kills, ...others }).flatMap(([fault, times]) =>
        Array.from({ length: times }, () => fault as Fault),
      )
      for (const fault of shuffled(plan, this.#random)) {
        await pause(this.#random(isLong ? 300 : 400))
        await this[fault]()
        this.done.set(fault, (this.done.get(fault) ?? 0) + 1)
      }
      await Promise.all(this.#asleep.values())
    }

    async kill(): Promise<void> {
      await this.#killOne(this.#projectors, startProjector)
      // Otherwise most would be killed while they wait for the lease of the one before them to run out.
      if (this.#random(4) > 0) await this.expire()
    }

    async writer(): Promise<void> {
      await this.#killOne(this.#writers, startWriter)
    }

    async cut(): Promise<void> {
      const backends = await ask<{ pid: number }>(
        `select pid from pg_stat_activity where application_name in ('bank-projector', 'bank-writer') order by pid`,
      )
      const victim = backends[this.#random(Math.max(1, backends.length))]
      if (victim) await ask('select pg_terminate_backend($1)', [victim.pid])
    }

    /** Past its lease, so that another owns what it has when it wakes. The others are not waited for, nor what happens to them meanwhile. */
    async sleep(): Promise<void> {
      const awake = this.#awake(this.#projectors)
      const victim = awake[this.#random(awake.length)]
      if (!victim || awake.length < 2) return
      victim.process.kill('SIGSTOP')
      const waking = pause(3200 + this.#random(800)).then(() => {
        victim.process.kill('SIGCONT')
        this.#asleep.delete(victim)
      })
      this.#asleep.set(victim, waking)
    }

    async crash(): Promise<void> {
      await server.crash()
      await pause(this.#random(300))
      await server.start()
    }

    /** A lease only decides who tries: whatever is owned is up for others now, while its owner works on. */
    async expire(): Promise<void> {
      await ask(`update ${schema}.checkpoint set lease_until = clock_timestamp()`)
    }

    #awake(from: readonly Child[]): readonly Child[] {
      return from.filter((child) => !this.#asleep.has(child))
    }

    async #killOne(from: Child[], startOne: () => Child): Promise<void> {
      const awake = this.#awake(from)
      const victim = awake[this.#random(awake.length)]
      if (!victim) return
      // Most at work, some while they begin.
      if (this.#random(6) > 0) await victim.line()
      victim.process.kill('SIGKILL')
      await victim.exited()
      children.delete(victim)
      from[from.indexOf(victim)] = startOne()
    }
  }

  /** Until every version is live and stands at the head. */
  async function settled(): Promise<void> {
    for (;;) {
      const [state] = await ask<{ behind: number; stopped: string | null }>(
        `select (select count(*)::int from ${schema}.projection p left join ${schema}.checkpoint c on c.projection = p.id
                 where p.state <> 'live' or c.position < (select max(position) from ${schema}.event)) as behind,
           (select string_agg(name || ': ' || error, '; ') from ${schema}.projection where state = 'stopped') as stopped`,
      )
      if (state?.stopped) throw new Error(state.stopped)
      if (state?.behind === 0) return
      await pause(50)
    }
  }

  async function rowsOf(table: string): Promise<object> {
    const rows = await ask<{ key: string; row: unknown; position: number; version: number | null }>(
      `select key, row, position, version from ${schema}."${table}"`,
    )
    return Object.fromEntries(rows.map(({ key, ...rest }) => [key, rest]))
  }

  test(`${kills} kills of projectors in 3 processes, mixed with all else that breaks, while others write: every row is the fold of its log`, async () => {
    await database.query(noteTable)
    const openStore = () => far && redis(far.url, { prefix: far.prefix })
    // The application closes its own.
    const [store, its] = [openStore(), openStore()]
    const readModels = { ...homeModels, ...(its && { far: farModel(its) }) }
    const app = headwater({ database: postgres(server.url(), { poolSize: 4 }), schema, commands, readModels, log: silentLog })
    await app.start()
    await app.settle()
    await app.projection('balances').divide(3)
    await app.projection('moves').divide(2)
    await app.stop()
    const audit = new MoveAudit(
      database,
      schema,
      Object.values(homeModels).map(({ readModelName }) => readModelName),
    )
    await audit.install()

    const projectors = [startProjector(), startProjector(), startProjector()]
    const writers = [startWriter(), startWriter()]
    await Promise.all([...projectors, ...writers].map((child) => child.line()))
    const faults = new Faults(seeded(seed), projectors, writers)
    await faults.run()
    expect(Object.fromEntries(faults.done)).toEqual({ kill: kills, ...others })

    // One that is killed before it knows what the signal means would not end well.
    await Promise.all([...projectors, ...writers].map((child) => child.line()))
    for (const writer of writers) writer.process.kill('SIGTERM')
    expect(await Promise.all(writers.map((writer) => writer.ended()))).toEqual(['well', 'well'])
    const events = await readBooks(database, schema)
    checkBooks(books, events)
    await checkNotes(database, events)
    expect(books.told.filter(({ status }) => status === 'done').length).toBeGreaterThan(isLong ? 1000 : 50)

    await settled()
    const expected = expectedRows(events)
    expect(Object.keys(expected.balances).length).toBeGreaterThan(3)
    expect(await rowsOf('balances_v1')).toEqual(expected.balances)
    expect(await rowsOf('now_balances_v1')).toEqual(expected.balances)
    expect(await rowsOf('moves_v1')).toEqual(expected.moves)
    expect(await rowsOf('now_moves_v1')).toEqual(expected.moves)
    expect(await ask(`select * from ${schema}.parked_key`)).toEqual([])
    const typed = await ask<{ key: string }>(`select key, owner, balance, rich, last, seen from ${schema}.balances`)
    const plain = Object.entries(expected.balances).map(([key, { row }]) => ({ key, ...(row as object) }))
    expect(Object.fromEntries(typed.map((row) => [row.key, row]))).toEqual(Object.fromEntries(plain.map((row) => [row.key, row])))
    const { moves, rows } = await audit.check(events.length)
    expect(moves).toBeGreaterThan(kills * 4)
    expect(rows).toBeGreaterThan(kills * 4)
    if (store) {
      const model = { owner: schema, name: 'far_balances', version: 1, indexes: [] }
      const stored = await store.range(model, { index: undefined, from: '', to: '\u{10ffff}', reverse: false, limit: 500 })
      expect(stored.checkpoint?.position).toBe(events.length)
      expect(Object.fromEntries(stored.rows.map(({ key, row, position }) => [key, [JSON.parse(row), position]]))).toEqual(
        Object.fromEntries(Object.entries(expected.balances).map(([key, { row, position }]) => [key, [row, position]])),
      )
      await store.drop({ ...model, indexes: [{ name: 'byOwner', fields: ['owner'] }] })
      await store.close()
    }
    for (const projector of projectors) projector.process.kill('SIGTERM')
    expect(await Promise.all(projectors.map((projector) => projector.ended()))).toEqual(['well', 'well', 'well'])
  }, 1_800_000)
})
