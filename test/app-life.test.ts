import {
  aggregate,
  type Clock,
  command,
  type Database,
  DatabaseUnavailableError,
  headwater,
  materializedView,
  projection,
  query,
  type Schema,
  silentLog,
  systemClock,
  type as typeOf,
} from 'headwater'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { databases, freshSchema, lasting } from './support/databases.ts'

const counter = aggregate('counter', {
  events: { Counted: typeOf<{ by: number }>() },
  initialState: () => ({}),
  evolve: { Counted: (state) => state },
})

const totals = projection('totals', {
  from: [counter],
  row: typeOf<{ total: number }>(),
  on: { Counted: (row, { data }) => ({ total: (row?.total ?? 0) + data.by }) },
})

const prices = materializedView('prices_now', {
  row: typeOf<{ id: string; price: number }>(),
  key: 'id',
  select: 'select id, price from prices',
  changedBy: { prices: 'id' },
})

/** What an application has left to do: statements that the database has yet to answer, and pauses after which it would go on. */
class Watched {
  calls = 0
  underWay = 0
  pauses = 0
  /** Told before each call, by its number. */
  onCall: (call: number) => void = () => undefined

  database(inner: Database): Database {
    return {
      query: (text, values, options) => this.#during(() => inner.query(text, values, options)),
      transaction: (work, options) => this.#during(() => inner.transaction(work, options)),
      close: async () => undefined,
      traits: inner.traits,
    }
  }

  get clock(): Clock {
    return {
      now: () => systemClock.now(),
      sleep: async (ms, signal) => {
        this.pauses++
        await systemClock.sleep(ms, signal)
        this.pauses--
      },
    }
  }

  async #during<T>(work: () => Promise<T>): Promise<T> {
    this.onCall(++this.calls)
    this.underWay++
    try {
      return await work()
    } finally {
      this.underWay--
    }
  }
}

/** A promise that somebody else resolves. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

for (const target of databases) {
  describe.skipIf(target.skip)(`the life of an application, on ${target.name}`, () => {
    let database: Database
    let schema: string

    beforeEach(async () => {
      database = await target.open()
      schema = freshSchema()
      await database.query('create table prices (id text primary key, price int not null)')
    })

    afterEach(async () => {
      await database.query(`drop schema if exists "${schema}" cascade`)
      await database.close()
    })

    test('stopped during start(), whichever statement it is at: start() is rejected, and nothing is left running', async () => {
      const application = (watched: Watched) =>
        headwater({
          database: watched.database(database),
          clock: watched.clock,
          schema,
          log: silentLog,
          pollIntervalMs: 1,
          readModels: { totals, prices },
        })
      const told = new Set<string>()
      let stoppedBeforeTheEnd = true
      // The first is stopped before everything, the next a statement later, and so on until one has started before it is stopped.
      for (let at = 1; stoppedBeforeTheEnd; at++) {
        const watched = new Watched()
        const app = application(watched)
        let stopping: Promise<void> | undefined
        watched.onCall = (call) => {
          if (call === at) stopping = app.stop()
        }
        const failed = await app.start().then(
          () => undefined,
          (error: Error) => error,
        )
        stoppedBeforeTheEnd = stopping !== undefined && failed !== undefined
        if (failed) told.add(`${(failed as Error & { code?: string }).code}: ${failed.message}`)
        await (stopping ?? app.stop())
        expect({ at, underWay: watched.underWay, pauses: watched.pauses }).toEqual({ at, underWay: 0, pauses: 0 })
        const { calls } = watched
        await expect(app.status()).rejects.toMatchObject({ code: 'usage', message: expect.stringMatching(/was stopped/) })
        await expect(app.start()).rejects.toMatchObject({ code: 'usage', message: expect.stringMatching(/was stopped/) })
        expect(watched.calls).toBe(calls)
        expect(at).toBeLessThan(1000)
      }
      expect([...told]).toEqual(['usage: start(): the application was stopped before it had started'])
    })

    test('stopped while start() waits for a table that others hold: it does not wait for them', async () => {
      // PGlite has one connection, so nobody holds anything for longer than a statement there.
      if (target.name === 'pglite') return
      const [held, waits, over] = [gate(), gate(), gate()]
      const holding = database.transaction(async (transaction) => {
        await transaction.query('lock table prices in share row exclusive mode')
        held.open()
        await over.opened
      })
      await held.opened
      const log = (_level: string, message: string) => {
        if (message.startsWith('waiting for open transactions')) waits.open()
      }
      const app = headwater({ database: lasting(database), schema, log, readModels: { prices } })
      const starting = expect(app.start()).rejects.toMatchObject({ code: 'usage', message: expect.stringMatching(/was stopped/) })
      await waits.opened
      await app.stop()
      await starting
      over.open()
      await holding
    })

    test('stopped while start() waits for a database that does not answer: it does not try again', async () => {
      const asked = gate()
      let times = 0
      const away: Database = {
        ...lasting(database),
        transaction: async () => {
          times++
          asked.open()
          throw new DatabaseUnavailableError('it is away', 'connect')
        },
      }
      const app = headwater({ database: away, schema, log: silentLog, connectTimeoutMs: 3_600_000 })
      const starting = expect(app.start()).rejects.toMatchObject({ code: 'usage', message: expect.stringMatching(/was stopped/) })
      await asked.opened
      await app.stop()
      await starting
      expect(times).toBe(1)
    })

    test('commands and queries under way are answered before it stops, and nothing that they wrote is lost', async () => {
      const [everybody, goOn, readOn] = [gate(), gate(), gate()]
      let begun = 0
      const begin = () => {
        if (++begun === 20) everybody.open()
      }
      /** Input that is looked at until the test lets it pass. */
      const slow = <T>(until: Promise<void>): Schema<T, T> => ({
        '~standard': {
          version: 1,
          vendor: 'test',
          validate: async (value) => {
            begin()
            await until
            return { value: value as T }
          },
        },
      })
      const commands = {
        count: counter.command('count', {
          input: slow<{ id: string; by: number }>(goOn.opened),
          stream: ({ id }) => id,
          decide: (_state, { by }, { events }) => [events.Counted({ by })],
        }),
        setPrice: command('setPrice', {
          input: slow<{ id: string; price: number }>(goOn.opened),
          execute: async ({ id, price }, { sql }) => void (await sql`insert into prices values (${id}, ${price})`),
        }),
      }
      const reads = { totals, prices }
      const queries = {
        /** Looks twice, and a while passes in between. */
        twice: query('twice', {
          input: typeOf<{ id: string }>(),
          reads,
          async execute({ id }, { totals, prices }) {
            const first = [await totals.get(id), await prices.get(id)]
            begin()
            await goOn.opened
            return [...first, await totals.get(id), await prices.get(id)].length
          },
        }),
        /** What it demands somebody has yet to fold and to select. */
        both: query('both', {
          input: slow<{ id: string }>(readOn.opened),
          reads,
          execute: async ({ id }, { totals, prices }) => [await totals.get(id), await prices.get(id)],
        }),
      }
      const app = headwater({ database: lasting(database), schema, log: silentLog, commands, queries, readModels: reads })
      await app.start()
      await app.settle()
      const ids = ['a', 'b', 'c', 'd', 'e']
      const twice = Promise.all(ids.map((id) => app.query('twice', { id })))
      const counted = Promise.all(ids.map((id, i) => app.execute('count', { id, by: i })))
      const priced = Promise.all(ids.map((id, i) => app.execute('setPrice', { id, price: i })))
      const both = Promise.all(ids.map((id) => app.query('both', { id }, { latest: true, waitMs: 30_000 })))
      await everybody.opened
      let stopped = false
      const stopping = app.stop().then(() => {
        stopped = true
      })
      await expect(app.execute('count', { id: 'late', by: 1 })).rejects.toMatchObject({ code: 'usage' })
      await expect(app.query('twice', { id: 'late' })).rejects.toMatchObject({ code: 'usage' })
      expect(stopped).toBe(false)
      goOn.open()
      expect((await twice).map(({ result }) => result)).toEqual(ids.map(() => 4))
      expect((await counted).map(({ token }) => typeof token)).toEqual(ids.map(() => 'string'))
      expect((await priced).map(({ token }) => typeof token)).toEqual(ids.map(() => 'string'))
      expect(stopped).toBe(false)
      readOn.open()
      expect((await both).map(({ result }) => result)).toEqual(ids.map((id, i) => [{ total: i }, { id, price: i }]))
      await stopping
      await app.stop()
      const { rows: events } = await database.query(`select stream, data from "${schema}".event order by stream`)
      expect(events).toEqual(ids.map((id, i) => ({ stream: `counter-${id}`, data: { by: i } })))
      expect((await database.query('select id, price from prices order by id')).rows).toEqual(ids.map((id, i) => ({ id, price: i })))
    })
  })
}
