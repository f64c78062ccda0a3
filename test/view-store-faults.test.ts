import {
  command,
  consoleLog,
  type Database,
  DatabaseUnavailableError,
  type Headwater,
  headwater,
  type Log,
  materializedView,
  query,
  type Store,
  type as typeOf,
} from 'headwater'
import { memory } from 'headwater/memory'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { databaseStore } from '../src/read-model/database-store.ts'
import { cardsView, cardTables, storedRows } from './process/stored-views.ts'
import { type ControlledStore, controlled, gate } from './support/controlled-store.ts'
import { databases, freshSchema, lasting } from './support/databases.ts'

for (const target of databases) {
  describe.skipIf(target.skip)(`views in stores that fail, on ${target.name}`, () => {
    let database: Database
    let schema: string
    let rows: string
    /** Where rows are, in tests that look at them or move them by hand. */
    let other: Database
    const apps: Headwater[] = []
    const lines: string[] = []
    const log: Log = (level, message, details) => {
      lines.push(`${level} ${message}`)
      if (process.env.LOUD) consoleLog()(level, message, details)
    }

    beforeEach(async () => {
      database = await target.open()
      schema = freshSchema()
      rows = freshSchema('rows')
      lines.splice(0)
      await database.query(cardTables)
      other = await target.open()
    })

    afterEach(async () => {
      for (const app of apps.splice(0)) await app.stop()
      await database.query(`drop schema if exists "${schema}" cascade`)
      await other.query(`drop schema if exists "${rows}" cascade`)
      await other.close()
      await database.close()
    })

    /** What the store of the other database said at this moment comes back. */
    async function remembered(): Promise<() => Promise<void>> {
      const table = (
        await other.query<{ name: string }>(`select tablename as name from pg_tables where schemaname = $1 and tablename like 'cards%'`, [
          rows,
        ])
      ).rows[0]?.name
      const { rows: checkpoints } = await other.query(`select position, event_id from "${rows}".checkpoint`)
      await other.query(`create table "${rows}".backup as select * from "${rows}"."${table}"`)
      return async () => {
        await other.query(`update "${rows}".checkpoint set position = $1, event_id = $2`, [
          checkpoints[0]?.position,
          checkpoints[0]?.event_id,
        ])
        await other.query(`delete from "${rows}"."${table}"; insert into "${rows}"."${table}" select * from "${rows}".backup`)
      }
    }

    function application(store: Store, options: { select?: string; own?: string } = {}) {
      const cards = cardsView({ store, ...(options.select === undefined ? {} : { select: options.select }) })
      const titles = materializedView('titles', {
        row: typeOf<{ id: number; title: string }>(),
        key: 'id',
        select: 'select id, title from cards',
        changedBy: { cards: 'id' },
      })
      const app = headwater({
        database: lasting(database),
        schema: options.own ?? schema,
        log,
        pollIntervalMs: 10,
        readModels: { cards, titles },
        commands: {
          retitle: command('retitle', {
            input: typeOf<{ id: number; title: string }>(),
            execute: async ({ id, title }, { sql }) => void (await sql`update cards set title = ${title} where id = ${id}`),
          }),
        },
        queries: {
          card: query('card', {
            input: typeOf<{ id: number }>(),
            reads: { cards },
            execute: async ({ id }, { cards }) => (await cards.get(id))?.title ?? null,
          }),
          cards: query('cards', {
            input: typeOf<object>(),
            reads: { cards },
            execute: async (_none, { cards }) => (await cards.find()).items.length,
          }),
          title: query('title', {
            input: typeOf<{ id: number }>(),
            reads: { titles },
            execute: async ({ id }, { titles }) => (await titles.get(id))?.title,
          }),
        },
      })
      apps.push(app as unknown as Headwater)
      return app
    }

    async function started(store: Store, options: { select?: string; own?: string } = {}) {
      const app = application(store, options)
      await app.start()
      return app
    }

    async function stored(store: Store): Promise<readonly string[]> {
      const { rows } = await storedRows(store, schema, 'cards')
      return (rows as { title: string }[]).map(({ title }) => title)
    }

    const state = async () => (await database.query(`select * from "${schema}".view_store`)).rows[0] ?? {}

    test('a late older write cannot win, neither as a batch nor row by row', async () => {
      const inner = memory()
      const [slow, fast] = [controlled(inner), controlled(inner)]
      const first = await started(slow)
      await first.settle()
      const door = gate()
      slow.onApply = async () => {
        door.arrive()
        await door.passed
        return undefined
      }
      const held: Parameters<Store['apply']>[1][] = []
      const apply = slow.apply
      slow.apply = async (model, batch) => {
        held.push(batch)
        return await apply(model, batch)
      }
      await database.query(`update cards set title = 'older' where id = 7`)
      await door.reached
      // Its process sleeps; its time is over.
      await database.query(`update "${schema}".view_store set lease_until = '-infinity'`)
      await database.query(`update cards set title = 'newer' where id = 7`)
      const second = await started(fast)
      const { token } = await second.execute('retitle', { id: 8, title: 'eight' })
      expect((await second.query('card', { id: 7 }, { after: token })).result).toBe('newer')
      slow.onApply = undefined
      door.open()
      await first.settle()
      expect(slow.written.some((batch) => batch === held[0])).toBe(false)
      expect((await second.query('card', { id: 7 }, { latest: true })).result).toBe('newer')
      // A store without transactions may write the rows of a batch that is lost in the end.
      const model = { owner: schema, name: 'cards', version: 1, indexes: [] }
      const { checkpoint } = await inner.load(model, [])
      const [late] = held
      if (!checkpoint || !late) throw new Error('nothing was held')
      await inner.apply(model, { ...late, from: checkpoint, to: checkpoint })
      expect((await second.query('card', { id: 7 })).result).toBe('newer')
      expect(lines.filter((line) => /not where it was left/.test(line))).toEqual([])
    })

    test('a store that was emptied answers "building" until it is filled again, never an empty page', async () => {
      const inner = memory()
      const store = controlled(inner)
      const app = await started(store)
      await app.settle()
      expect((await app.query('cards', {})).result).toBe(40)
      const door = gate()
      store.onApply = async (batch) => {
        if (batch.rows.length > 0) return undefined
        door.arrive()
        await door.passed
        return undefined
      }
      await inner.drop({ owner: schema, name: 'cards', version: 1, indexes: [] })
      await expect(app.query('cards', {})).rejects.toMatchObject({ code: 'building' })
      await door.reached
      // All rows are there, and nobody vouches for them yet.
      expect(await stored(inner)).toHaveLength(40)
      await expect(app.query('cards', {})).rejects.toMatchObject({ code: 'building' })
      await expect(app.query('card', { id: 1 })).rejects.toMatchObject({ code: 'building' })
      expect((await app.readModel('cards').status()).state).toBe('building')
      expect((await app.query('title', { id: 1 })).result).toBe('card 1')
      door.open()
      await app.settle()
      expect((await app.query('cards', {})).result).toBe(40)
      expect((await app.readModel('cards').verify()).differences).toEqual([])
      // It was built long before it was filled again.
      expect((await app.readModel('cards').status()).builtInMs).toBeUndefined()
      expect(lines.filter((line) => /not where it was left/.test(line))).toHaveLength(1)
    })

    test('a store that lost its last writes, and a write database that did, are noticed', async () => {
      const store = databaseStore(lasting(other), rows, { home: false })
      const app = await started(store)
      await app.settle()
      const before = await state()
      const back = await remembered()
      await app.execute('retitle', { id: 3, title: 'three' })
      await app.settle()
      await back()
      await waitUntil(() => lines.some((line) => /not where it was left/.test(line)))
      await app.settle()
      expect((await app.query('card', { id: 3 })).result).toBe('three')
      lines.splice(0)
      await database.query(`update "${schema}".view_store set reached = $1, batch_id = $2, filling = false`, [
        before.reached,
        before.batch_id,
      ])
      await waitUntil(() => lines.some((line) => /not where it was left/.test(line)))
      await app.settle()
      expect((await app.query('card', { id: 3 })).result).toBe('three')
      expect((await app.readModel('cards').verify()).differences).toEqual([])
    })

    test('a token is not answered from before its write, though the store went back and nobody noticed', async () => {
      const store = databaseStore(lasting(other), rows, { home: false })
      const app = await started(store)
      await app.settle()
      const back = await remembered()
      const { token } = await app.execute('retitle', { id: 3, title: 'three' })
      await app.settle()
      await app.stop()
      const reader = application(store)
      await reader.start({ roles: ['queries'] })
      expect((await reader.query('card', { id: 3 }, { after: token })).result).toBe('three')
      await back()
      await expect(reader.query('card', { id: 3 }, { after: token, waitMs: 50 })).rejects.toMatchObject({ code: 'behind' })
      expect((await reader.query('card', { id: 3 })).result).toBe('card 3')
    })

    test('a batch whose answer was lost is taken in again, and nothing else happens', async () => {
      const store = controlled(memory())
      const app = await started(store)
      await app.settle()
      store.silent = 1
      const { token } = await app.execute('retitle', { id: 5, title: 'five' })
      expect((await app.query('card', { id: 5 }, { after: token })).result).toBe('five')
      await app.settle()
      expect(store.written.filter(({ rows }) => rows.some(({ row }) => row?.includes('five')))).toHaveLength(2)
      expect(lines.filter((line) => /not where it was left/.test(line))).toEqual([])
      expect(await state()).toMatchObject({ intended: [], filling: false, trouble: null })
    })

    test('a store that is down: its view says so and waits, everything else goes on, and nothing is lost', async () => {
      const store = controlled(memory())
      const app = await started(store)
      await app.settle()
      const door = gate()
      store.onApply = async () => {
        store.isDown = true
        door.arrive()
        throw new DatabaseUnavailableError('memory is down', 'statement')
      }
      const { token } = await app.execute('retitle', { id: 5, title: 'five' })
      await door.reached
      expect((await app.query('title', { id: 5 }, { after: token })).result).toBe('five')
      await expect(app.query('card', { id: 5 })).rejects.toMatchObject({ code: 'database_unavailable' })
      await waitUntil(async () => (await app.readModel('cards').status()).error?.includes('memory is down') === true)
      expect(await app.readModel('cards').status()).toMatchObject({ state: 'live', pending: 1, available: false })
      expect(await app.readModel('titles').status()).toMatchObject({ state: 'live', available: true })
      await waitUntil(() => lines.some((line) => /^debug cards: .*down/.test(line)))
      store.onApply = undefined
      store.isDown = false
      await app.settle()
      expect((await app.query('card', { id: 5 }, { after: token })).result).toBe('five')
      expect(await app.readModel('cards').status()).toMatchObject({ error: undefined, available: true })
      // However often it was tried: one line when it began, and one when it was over.
      expect(lines.filter((line) => /^warn cards: .*down/.test(line))).toHaveLength(1)
      expect(lines.filter((line) => /^info cards: gets on again/.test(line))).toHaveLength(1)
      expect(lines.filter((line) => /not where it was left/.test(line))).toEqual([])
    })

    test('rows of another application are refused by name, and overwritten by resume', async () => {
      const store = memory()
      const first = await started(store)
      await first.settle()
      await first.stop()
      await database.query(`drop schema "${schema}" cascade`)
      const second = await started(store)
      await second.settle()
      await waitUntil(async () => (await second.readModel('cards').status()).state === 'stopped')
      expect((await second.readModel('cards').status()).error).toMatch(/memory holds rows of another application as version 1 of .*cards/)
      expect((await second.query('title', { id: 1 }, { latest: true })).result).toBe('card 1')
      await second.readModel('cards').resume()
      await second.settle()
      expect((await second.query('card', { id: 1 })).result).toBe('card 1')
    })

    test('keys that fail are parked, in the store too, and come back', async () => {
      const store = controlled(memory())
      const select = 'select id, title, 1 / (price - 5) as price, category, changed from cards'
      const app = await started(store, { select })
      await app.settle()
      expect(await app.readModel('cards').status()).toMatchObject({ state: 'live', parked: 1 })
      expect((await app.query('card', { id: 4 })).result).toBeNull()
      await expect(app.query('card', { id: 4 }, { latest: true })).rejects.toMatchObject({ code: 'parked' })
      await database.query('update cards set price = 6 where id = 4')
      expect((await app.query('card', { id: 4 }, { latest: true })).result).toBe('card 4')
      expect(await app.readModel('cards').status()).toMatchObject({ parked: 0 })
      expect(await store.parked?.({ owner: schema, name: 'cards', version: 1, indexes: [] })).toEqual([])
    })

    test('a view moves to a store and back by one line, and never answers less', async () => {
      const first = await started(memory())
      await first.settle()
      await first.stop()
      const { store: _none, ...table } = cardsView({ store: memory() })['~view']
      const home = headwater({
        database: lasting(database),
        schema,
        log,
        pollIntervalMs: 10,
        readModels: { cards: { ...cardsView({ store: memory() }), '~view': table } },
      })
      await home.start()
      await home.settle()
      expect((await database.query(`select * from "${schema}".cards`)).rows).toHaveLength(40)
      await home.stop()
      const store: ControlledStore = controlled(databaseStore(lasting(other), rows, { home: false }))
      const door = gate()
      store.onApply = async () => {
        door.arrive()
        await door.passed
        return undefined
      }
      const app = await started(store)
      await door.reached
      expect((await app.query('card', { id: 2 }, { latest: true })).result).toBe('card 2')
      expect((await app.readModel('cards').status()).state).toBe('rebuilding')
      door.open()
      await app.settle()
      expect(await app.readModel('cards').status()).toMatchObject({ state: 'live', version: 3, rows: 0 })
      expect((await app.query('card', { id: 2 }, { latest: true })).result).toBe('card 2')
      await expect(database.query(`select * from "${schema}".cards`)).rejects.toMatchObject({ sqlState: '42P01' })
      await app.readModel('cards').rollback()
      expect((await app.query('card', { id: 2 }, { latest: true })).result).toBe('card 2')
      expect((await database.query(`select * from "${schema}".cards`)).rows).toHaveLength(40)
    })
  })
}

async function waitUntil(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 2000; i++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  throw new Error('it did not come to pass')
}
