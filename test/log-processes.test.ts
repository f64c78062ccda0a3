import { AsyncResource } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import { type Database, type Event, headwater, silentLog } from 'headwater'
import { postgres } from 'headwater/postgres'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { EventLog } from '../src/log/log.ts'
import { type LogPlace, logPlace } from './log/log-place.ts'
import { commands, expectedRows, homeModels, noteTable } from './process/bank.ts'
import { type BankBooks, checkBooks, checkNotes, readBooks } from './support/bank-books.ts'
import { type Child, onLine, startChild } from './support/child.ts'
import { databases, freshSchema, postgresUrl } from './support/databases.ts'
import { isLong, seed, seeded } from './support/seed.ts'

const skip = databases.find(({ name }) => name === 'postgres')?.skip ?? false
const runs = isLong ? 20 : 1

const resource = new AsyncResource('test')
/** Where no transaction is open. */
const outside = <T>(work: () => T) => resource.runInAsyncScope(work)

/** Reads the log from its start as it grows, and checks each event as it comes. */
class Tail {
  readonly #log: EventLog
  readonly #limit: number
  readonly seen = new Map<string, Event>()
  readonly #versions = new Map<string, number>()
  readonly #parts = new Map<string, number>()
  position = 0

  constructor(log: EventLog, limit: number) {
    this.#log = log
    this.#limit = limit
  }

  async read(): Promise<number> {
    const events = await this.#log.read({ after: this.position, limit: 1 + (this.position % this.#limit) })
    for (const event of events) this.#take(event)
    return events.length
  }

  #take(event: Event): void {
    const stream = `${event.aggregate}-${event.stream}`
    expect(event.position).toBe(this.position + 1)
    expect([stream, event.version]).toEqual([stream, (this.#versions.get(stream) ?? 0) + 1])
    expect(this.seen.has(event.id)).toBe(false)
    this.position = event.position
    this.#versions.set(stream, event.version)
    this.seen.set(event.id, event)
    const { request } = event.data as { request: string }
    this.#parts.set(`${event.aggregate} ${request}`, (this.#parts.get(`${event.aggregate} ${request}`) ?? 0) + 1)
  }

  /** Every request is there whole. */
  checkWhole(): void {
    for (const { aggregate, data } of this.seen.values()) {
      const { request, size } = data as { request: string; size: number }
      expect(this.#parts.get(`${aggregate} ${request}`)).toBe(size)
    }
  }
}

/** What a writer printed of an append. */
interface Told {
  readonly status: string
  readonly ids: readonly string[]
  readonly position: number
}

describe.skipIf(skip)(`processes that append, seed ${seed}`, () => {
  let database: Database
  const children = new Set<Child>()
  beforeAll(() => {
    database = postgres(postgresUrl, { poolSize: 8 })
  })
  afterEach(() => {
    for (const child of children) child.process.kill('SIGKILL')
    children.clear()
  })
  afterAll(() => database.close())

  function start(name: string, argument: object): Child {
    const child = startChild(name, { url: postgresUrl, ...argument })
    children.add(child)
    return child
  }

  function startWriter(here: LogPlace, from: number, told: Told[]): Child {
    const child = start('log-writer', { schema: here.schema, generation: here.generation, seed: from, rounds: 40 })
    onLine(child, (line) => told.push(JSON.parse(line)))
    return child
  }

  /** 16 writers in 4 processes, some of which are killed and followed by others, while two read. */
  async function writersAndReaders(from: number): Promise<void> {
    const here = await logPlace(database)
    const random = seeded(from)
    const told: Told[] = []
    const writers = Array.from({ length: 4 }, (_, i) => startWriter(here, from + i, told))
    const ends = writers.map((writer) => writer.exited())
    let writing = true
    const tails = [300, 7].map((limit) => new Tail(here.log(), limit))
    const reading = Promise.all(
      tails.map(async (tail) => {
        while (writing || (await tail.read()) > 0) await tail.read()
      }),
    )
    reading.catch(() => undefined)
    await writers[0]?.line()
    for (let kills = 0; kills < 3; kills++) {
      await new Promise((resolve) => setTimeout(resolve, random(200)))
      const at = random(writers.length)
      writers[at]?.process.kill('SIGKILL')
      const fresh = startWriter(here, from + 10 + kills, told)
      writers[at] = fresh
      ends.push(fresh.exited())
    }
    const codes = await Promise.all(ends)
    writing = false
    await reading
    expect(codes.filter((code) => code === 0).length).toBeGreaterThanOrEqual(4)
    expect(codes.filter((code) => code !== 0 && code !== null)).toEqual([])
    await check(here, tails, told)
  }

  async function check(here: LogPlace, [tail, ...others]: readonly Tail[], told: readonly Told[]): Promise<void> {
    if (!tail) throw new Error('nobody read')
    expect(tail.position).toBe((await here.log().head()).position)
    for (const other of others) expect([...other.seen.keys()]).toEqual([...tail.seen.keys()])
    tail.checkWhole()
    const some = await here.log().read({ after: 0, limit: 1_000_000, types: ['Type1', 'Type2'] })
    expect(some.map(({ id }) => id)).toEqual([...tail.seen.values()].flatMap(({ type, id }) => (type === 'Type0' ? [] : [id])))
    for (const { status, ids, position } of told) {
      const found = ids.map((id) => tail.seen.get(id)?.position)
      expect([status, found]).toEqual([status, ids.map((_, i) => (status === 'appended' ? position - ids.length + i + 1 : undefined))])
    }
    const count = (wanted: string) => told.filter(({ status }) => status === wanted).length
    expect(count('appended')).toBeGreaterThan(50)
    expect(count('conflict')).toBeGreaterThan(10)
    expect(count('rolled back')).toBeGreaterThan(5)
    expect(count('appended') + count('conflict') + count('rolled back')).toBe(told.length)
  }

  for (let run = 0; run < runs; run++) {
    test(`16 writers in 4 processes, killed at random: what was acknowledged is there once, in order (seed ${seed + run * 1000})`, async () => {
      await writersAndReaders(seed + run * 1000)
    }, 120_000)

    test(`the same while write transactions stay open in this database and in another (seed ${seed + run * 1000})`, async () => {
      const name = `test_${randomBytes(6).toString('hex')}`
      await database.query(`create database ${name}`)
      const url = new URL(postgresUrl)
      url.pathname = name
      const elsewhere = postgres(url.href, { poolSize: 1 })
      try {
        await elsewhere.query('create table unrelated (n int)')
        await database.transaction(async (transaction) => {
          await transaction.query('create temporary table unrelated (n int) on commit drop')
          await transaction.query('insert into unrelated values (1)')
          await outside(() =>
            elsewhere.transaction(async (other) => {
              await other.query('insert into unrelated values (1)')
              // Out of the transactions' own context, in which their databases may not be called.
              await outside(() => writersAndReaders(seed + run * 1000 + 500))
            }),
          )
        })
      } finally {
        await elsewhere.close()
        await database.query(`drop database ${name} with (force)`)
      }
    }, 120_000)
  }

  test('two processes create 1,000 streams each at the same moments: each stream has one creator', async () => {
    const here = await logPlace(database)
    await database.query(`create table "${here.schema}".tried (name text, round int, primary key (round, name))`)
    const names = ['one', 'other']
    const creators = names.map((name) => start('creator', { schema: here.schema, generation: here.generation, name, rounds: 50 }))
    const created = (await Promise.all(creators.map((creator) => creator.line()))).map((line) => JSON.parse(line) as readonly string[])
    expect(created.flat().length).toBe(1000)
    expect(new Set(created.flat()).size).toBe(1000)
    const events = await here.log().read({ after: 0, limit: 2000 })
    expect(events.map(({ version }) => version)).toEqual(Array.from({ length: 1000 }, () => 1))
    const told = created.flatMap((streams, i) => streams.map((stream) => `${stream} by ${names[i]}`))
    expect(events.map(({ stream, data }) => `${stream} by ${(data as { by: string }).by}`).toSorted()).toEqual(told.toSorted())
    // It was a race, and not one running ahead.
    for (const streams of created) expect(streams.length).toBeGreaterThan(20)
  }, 120_000)

  for (let run = 0; run < runs; run++) {
    test(`commands on the same few accounts from 2 processes: nothing is lost, nothing decided on what was not there any more (seed ${seed + run})`, async () => {
      const tables = freshSchema()
      const schema = freshSchema('headwater')
      await database.query(`create schema ${tables}`)
      const own = postgres(postgresUrl, { searchPath: tables, poolSize: 4 })
      await own.query(noteTable)
      const app = headwater({ database: own, schema, commands, readModels: homeModels, log: silentLog })
      await app.start()
      await app.settle()
      const books: BankBooks = { told: [] }
      const writers = ['x', 'y'].map((name, i) => {
        const argument = { schema, tables, name, seed: seed + run + i * 77, accounts: 3, senders: 4, rounds: 50, pauseMs: 0 }
        const child = start('bank-writer', argument)
        onLine(child, (line) => books.told.push(JSON.parse(line)))
        return child
      })
      expect(await Promise.all(writers.map((writer) => writer.ended()))).toEqual(['well', 'well'])
      await app.settle()
      const events = await readBooks(own, schema)
      checkBooks(books, events)
      await checkNotes(own, events)
      const rowsOf = async (model: string) => {
        const { rows } = await own.query<{ key: string }>(`select key, row, position, version from "${schema}".${model}_v1`)
        return Object.fromEntries(rows.map(({ key, ...rest }) => [key, rest]))
      }
      // Each process folded these in its own appends, on rows that the other one changes.
      expect(await rowsOf('now_balances')).toEqual(expectedRows(events).balances)
      expect(await rowsOf('now_moves')).toEqual(expectedRows(events).moves)
      await app.stop()
      expect(books.told.length).toBe(400)
      expect(books.told.filter(({ status }) => status === 'unknown')).toEqual([])
      expect(books.told.filter(({ status }) => status === 'done').length).toBeGreaterThan(100)
      // Both wrote to the same streams in turns: each such turn met a state that the other process had not in its cache.
      const by = new Map<string, string>()
      let turns = 0
      for (const { stream, data } of events) {
        const writer = data.sent.slice(0, 1)
        if (by.has(stream) && by.get(stream) !== writer) turns++
        by.set(stream, writer)
      }
      expect(turns).toBeGreaterThan(5)
    }, 120_000)
  }
})
