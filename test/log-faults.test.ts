import { AsyncResource } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import { type Database, DatabaseUnavailableError, type Event } from 'headwater'
import { postgres } from 'headwater/postgres'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { lockClass } from '../src/database/migrate.ts'
import type { AppendOutcome, EventLog } from '../src/log/log.ts'
import { keyed, type LogPlace, logPlace, to } from './log/log-place.ts'
import { type Child, startChild } from './support/child.ts'
import { databases, postgresUrl } from './support/databases.ts'
import { TcpProxy, type Verdict } from './support/tcp-proxy.ts'

const skip = databases.find(({ name }) => name === 'postgres')?.skip ?? false
const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)

const resource = new AsyncResource('test')
/** Where no transaction is open. */
const outside = (work: () => unknown) => resource.runInAsyncScope(work)

function seeded(from: number): (below: number) => number {
  let state = from
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return (state >>> 8) % below
  }
}

/** Reads the log from its start as it grows, and checks each event as it comes. */
class Tail {
  readonly #log: EventLog
  readonly seen = new Map<string, Event>()
  readonly #versions = new Map<string, number>()
  readonly #parts = new Map<string, number>()
  position = 0

  constructor(log: EventLog) {
    this.#log = log
  }

  async read(): Promise<number> {
    const events = await this.#log.read({ after: this.position, limit: 1 + (this.position % 300) })
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

describe.skipIf(skip)(`the log under faults, seed ${seed}`, () => {
  let database: Database
  let place: LogPlace
  const children = new Set<Child>()
  beforeAll(async () => {
    database = postgres(postgresUrl, { poolSize: 6 })
    place = await logPlace(database)
  })
  afterEach(() => {
    for (const child of children) child.process.kill('SIGKILL')
    children.clear()
  })
  afterAll(() => database.close())

  interface Acknowledged {
    readonly status: AppendOutcome['status']
    readonly ids: readonly string[]
    readonly position: number
  }

  function startWriter(here: LogPlace, number: number, told: Acknowledged[]): Child {
    const argument = { url: postgresUrl, schema: here.schema, generation: here.generation, seed: seed + number, rounds: 40 }
    const child = startChild('log-writer', argument)
    children.add(child)
    let text = ''
    child.process.stdout?.on('data', (chunk: Buffer) => {
      const lines = (text + chunk.toString()).split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) told.push(JSON.parse(line))
    })
    return child
  }

  async function writersAndReaders(): Promise<void> {
    const here = await logPlace(database)
    const random = seeded(seed)
    const told: Acknowledged[] = []
    const writers = Array.from({ length: 4 }, (_, i) => startWriter(here, i, told))
    const ends = writers.map((writer) => writer.exited())
    let writing = true
    const tail = new Tail(here.log())
    const reading = (async () => {
      while (writing || (await tail.read()) > 0) await tail.read()
    })()
    await writers[0]?.line()
    for (let kills = 0; kills < 2; kills++) {
      await new Promise((resolve) => setTimeout(resolve, random(200)))
      writers[random(writers.length)]?.process.kill('SIGKILL')
      const fresh = startWriter(here, 10 + kills, told)
      writers.push(fresh)
      ends.push(fresh.exited())
    }
    const codes = await Promise.all(ends)
    writing = false
    await reading
    expect(codes.filter((code) => code === 0).length).toBeGreaterThanOrEqual(4)
    expect(tail.position).toBe((await here.log().head()).position)
    tail.checkWhole()
    for (const { status, ids, position } of told) {
      const found = ids.map((id) => tail.seen.get(id))
      if (status === 'appended') {
        expect(found.map((event) => event?.position)).toEqual(ids.map((_, i) => position - ids.length + i + 1))
      } else {
        expect(found).toEqual(ids.map(() => undefined))
      }
    }
    expect(told.filter(({ status }) => status === 'appended').length).toBeGreaterThan(50)
    expect(told.filter(({ status }) => status === 'conflict').length).toBeGreaterThan(10)
  }

  test('16 writers in 4 processes, killed at random: all that was acknowledged is there once, in order', writersAndReaders)

  test('the same while an unrelated write transaction stays open', async () => {
    await database.query(`create table "${place.schema}".unrelated (n int)`)
    await database.transaction(async (transaction) => {
      await transaction.query(`insert into "${place.schema}".unrelated values (1)`)
      await new Promise<void>((resolve, reject) => {
        // Out of the transaction's own context, in which the database may not be called.
        outside(() => writersAndReaders().then(resolve, reject))
      })
    })
  })

  describe('a connection that is lost', () => {
    let proxy: TcpProxy
    let through: Database
    const { hostname, port } = new URL(postgresUrl)
    beforeAll(async () => {
      proxy = await TcpProxy.open({ host: hostname, port: Number(port || 5432) })
      through = postgres(proxy.url(postgresUrl), { poolSize: 1, applicationName: `faults ${seed}` })
    })
    afterAll(async () => {
      proxy.judge = () => 'forward'
      await through.close()
      await proxy.close()
    })

    /** What to do with the message that carries the append, and how it goes on. */
    const scenes: readonly {
      readonly name: string
      readonly verdict: Verdict
      readonly blocked?: boolean
      readonly after: 'deliver' | 'late' | 'drop'
    }[] = [
      { name: 'the append waits for the lock when it is cut', verdict: 'hold', blocked: true, after: 'deliver' },
      { name: 'the append comes while it is being settled', verdict: 'hold', after: 'deliver' },
      { name: 'the append comes after it was settled', verdict: 'hold', after: 'late' },
      { name: 'the append never comes', verdict: 'hold', after: 'drop' },
      { name: 'the server never sees it', verdict: 'cut-before', after: 'drop' },
      { name: 'the answer is lost', verdict: 'cut-after', after: 'drop' },
    ]

    const quiet = async () => {
      await expect
        .poll(async () => {
          const active = `select count(*) as n from pg_stat_activity where application_name = $1 and state <> 'idle'`
          return (await database.query<{ n: number }>(active, [`faults ${seed}`])).rows[0]?.n
        })
        .toBe(0)
    }

    test('the outcome told is the outcome that happened, 42 times', async () => {
      const log = place.log({ database: through })
      const counts = new Map<string, number>()
      for (let i = 0; i < 42; i++) {
        const scene = scenes[i % scenes.length]
        if (!scene) continue
        const stream = `lost-${i}`
        const request =
          i % 4 < 2 ? to(stream, 0, 2) : keyed({ streams: [...to(stream, 0, 2).streams, ...to(`${stream}-b`, 'any').streams] }, stream)
        const { release, released } = scene.blocked ? await holdLock() : { release: () => {}, released: undefined }
        let cut = false
        proxy.judge = ({ sql }) => {
          if (cut || !sql?.includes('.append(')) return 'forward'
          cut = true
          if (scene.after === 'deliver') setImmediate(() => setImmediate(() => proxy.deliver()))
          if (scene.after === 'drop') setImmediate(() => setImmediate(() => proxy.drop()))
          return scene.verdict
        }
        place.calls.length = 0
        const telling = log.append(request)
        if (scene.blocked) await expect.poll(waiting).toBeGreaterThan(0)
        release()
        await released
        const outcome = await telling
        expect([scene.name, cut, place.calls]).toEqual([scene.name, true, ['lost']])
        if (scene.after === 'late') proxy.deliver()
        await quiet()
        const { events } = await place.log().readStream('thing', stream)
        counts.set(outcome.status, (counts.get(outcome.status) ?? 0) + 1)
        if (outcome.status === 'appended') {
          const others = request.streams.length === 2 ? 1 : 0
          expect(events.map(({ position, id }) => [position + others, id])).toEqual(
            request.streams[0]?.events.map(({ id }, n) => [outcome.position - 1 + n, id]),
          )
          expect(outcome.versions).toEqual(request.streams.map(({ events: { length } }) => length))
          const { rows } = await database.query(`select xmin::text as xid from "${place.schema}".event where position = $1`, [
            outcome.position,
          ])
          expect(rows).toEqual([{ xid: outcome.xid }])
        } else {
          expect([scene.name, outcome, events]).toEqual([scene.name, { status: 'stale' }, []])
          proxy.judge = () => 'forward'
          expect(await place.log().append(request)).toMatchObject({ status: 'appended' })
        }
      }
      expect(counts.get('appended')).toBeGreaterThanOrEqual(7)
      expect(counts.get('stale')).toBeGreaterThanOrEqual(21)
    })

    /** Someone else who holds the lock on the log. */
    async function holdLock(): Promise<{ release: () => void; released: Promise<void> }> {
      let release = () => {}
      let held = () => {}
      const holding = new Promise<void>((resolve) => {
        held = resolve
      })
      const released = database.transaction(async (transaction) => {
        await transaction.query('select pg_advisory_xact_lock($1::int, 0)', [lockClass(place.schema) + 4])
        held()
        await new Promise<void>((resolve) => {
          release = resolve
        })
      })
      await holding
      return { release: () => release(), released }
    }

    const waiting = async () =>
      (
        await database.query<{ n: number }>(
          `select count(*) as n from pg_locks where locktype = 'advisory' and not granted and classid = $1::oid`,
          [(lockClass(place.schema) + 4) >>> 0],
        )
      ).rows[0]?.n

    test('that cannot be had again in time: the outcome is unknown', async () => {
      const failing: Database = { ...database, query: () => Promise.reject(new DatabaseUnavailableError('gone', 'statement')) }
      const clock = { now: () => 0, sleep: async () => {} }
      const log = place.log({ database: failing, clock })
      await expect(log.append(keyed(to('a'), randomUUID()))).rejects.toMatchObject({ code: 'outcome_unknown' })
    })

    test('before anything could be sent: nothing happened', async () => {
      const failing: Database = { ...database, query: () => Promise.reject(new DatabaseUnavailableError('gone', 'connect')) }
      await expect(place.log({ database: failing }).append(to('a'))).rejects.toMatchObject({ code: 'database_unavailable' })
    })
  })
})
