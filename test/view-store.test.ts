import fc from 'fast-check'
import {
  consoleLog,
  type Database,
  type Headwater,
  headwater,
  type MaterializedView,
  materializedView,
  query,
  type Store,
  silentLog,
  type as typeOf,
} from 'headwater'
import { memory } from 'headwater/memory'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { databaseStore } from '../src/read-model/database-store.ts'
import { randomTables, randomTransactions, randomViews, runTransaction } from './process/random-writes.ts'
import { cardsView, cardTables, wrongStoredViews } from './process/stored-views.ts'
import { databases, freshSchema, lasting, type Target } from './support/databases.ts'
import { stores } from './support/stores.ts'

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)

interface Place {
  readonly name: string
  readonly skip: string | false
  open(target: Target): Promise<Store>
}

const places: readonly Place[] = [
  ...stores.filter(({ name }) => name !== 'postgres'),
  {
    name: 'another database',
    skip: false,
    open: async (target) => databaseStore(await target.open(), freshSchema('rows'), { home: false }),
  },
]

for (const target of databases) {
  for (const place of places) {
    // One database is enough for stores that are elsewhere; PGlite has one connection, which is what could go wrong there.
    const skip = target.skip || place.skip || (target.name === 'pglite' && (place.name === 'redis' || place.name === 'mongodb'))
    describe.skipIf(skip)(`views of ${target.name} in ${place.name}, seed ${seed}`, () => {
      let database: Database
      let schema: string
      let store: Store
      const apps: Headwater[] = []

      beforeEach(async () => {
        database = await target.open()
        schema = freshSchema()
        store = await place.open(target)
      })

      afterEach(async () => {
        for (const app of apps.splice(0)) await app.uninstall().catch(() => app.stop())
        await store.close?.()
        await database.close()
      })

      async function started(views: Readonly<Record<string, MaterializedView>>) {
        const app = headwater({
          database: lasting(database),
          schema,
          readModels: views,
          log: process.env.LOUD ? consoleLog() : silentLog,
          pollIntervalMs: 10,
        })
        apps.push(app as unknown as Headwater)
        await app.start()
        return app
      }

      test('after any writes every view is its SELECT', async () => {
        await database.query(randomTables)
        const app = await started(inStore(randomViews('async'), store))
        await fc.assert(
          fc.asyncProperty(randomTransactions, async (transactions) => {
            for (const transaction of transactions) await runTransaction(database, transaction)
            await app.settle()
            expect(await wrongStoredViews(database, store, schema)).toEqual([])
          }),
          { seed, numRuns: place.name === 'mongodb' ? 3 : 8, endOnFailure: true },
        )
        for (const name of ['joined', 'two_levels', 'grouped', 'pairs'])
          expect((await app.readModel(name).verify()).differences).toEqual([])
        const statuses = (await app.status()).readModels
        expect(statuses.map(({ state, error, pending }) => ({ state, error, pending }))).toEqual(
          statuses.map(() => ({ state: 'live', error: undefined, pending: 0 })),
        )
      })

      test('statements over many rows, and one whose change fans out over all of them, are taken in', async () => {
        await database.query('create table shelves (id int primary key, name text not null)')
        await database.query('create table books (id int primary key, shelf int not null, title text not null)')
        const books = materializedView('books', {
          row: typeOf<{ id: number; title: string; shelf: string }>(),
          key: 'id',
          select: 'select b.id, b.title, s.name as shelf from books b join shelves s on s.id = b.shelf',
          changedBy: { books: 'id', shelves: { sql: 'select id from books where shelf = $1', params: ['id'] } },
          store,
        })
        const app = await started({ books })
        await app.settle()
        const count = 1600
        await database.query(`insert into shelves values (1, 'first')`)
        await database.query(`insert into books select n, 1, 'title ' || n from generate_series(1, ${count}) n`)
        await app.settle()
        expect(await app.readModel('books').status()).toMatchObject({ state: 'live', rows: count, error: undefined })
        await database.query(`update shelves set name = 'renamed'`)
        await database.query(`update books set title = title || '!'`)
        await database.query(`delete from books where id > ${count / 2}`)
        await app.settle()
        expect((await app.readModel('books').verify()).differences).toEqual([])
        expect(await app.readModel('books').status()).toMatchObject({ state: 'live', rows: count / 2, error: undefined })
      })

      test('verify finds drift, repair mends it, rebuild takes away what the SELECT does not have', async () => {
        await database.query(cardTables)
        const app = await started({ cards: cardsView({ store }) })
        await app.settle()
        const indexes = [
          { name: 'primary key', fields: ['id'] },
          { name: 'byPrice', fields: ['price', 'id'] },
          { name: 'byCategory', fields: ['category', 'changed', 'id'] },
        ]
        const model = { owner: schema, name: 'cards', version: 1, indexes }
        const tamper = async (tampered: readonly { readonly key: string; readonly row: string | null }[]) => {
          const { checkpoint } = await store.load(model, [])
          if (!checkpoint) throw new Error('nothing was stored')
          // A number that no batch bears: the next one is higher.
          const { rows } = await database.query<{ position: number }>(`select nextval('"${schema}".view_batch') as position`)
          const change = { was: undefined, position: rows[0]?.position ?? 0, version: null }
          const changes = tampered.map(({ key, row }) => ({ ...change, key, row, index: row === null ? [] : ['40', '40', '40'] }))
          await store.apply(model, {
            partitions: { first: 0, last: 63 },
            from: checkpoint,
            to: checkpoint,
            rows: changes,
            park: [],
            unpark: [],
          })
        }
        await tamper([
          { key: '1', row: '{"id":1,"title":"drifted"}' },
          { key: '2', row: null },
          { key: '99', row: '{"id":99,"title":"surplus"}' },
        ])
        const byKey = (a: { key: string }, b: { key: string }) => (a.key < b.key ? -1 : 1)
        const found = await app.readModel('cards').verify()
        expect([...found.differences].sort(byKey)).toEqual([
          { key: '1', kind: 'different' },
          { key: '2', kind: 'missing' },
          { key: '99', kind: 'surplus' },
        ])
        expect((await app.readModel('cards').repair()).differences).toHaveLength(3)
        expect((await app.readModel('cards').verify()).differences).toEqual([])
        await tamper([{ key: '99', row: '{"id":99,"title":"surplus"}' }])
        await app.readModel('cards').rebuild()
        await app.settle()
        expect((await app.readModel('cards').verify()).differences).toEqual([])
        expect(await app.readModel('cards').status()).toMatchObject({ state: 'live', rows: 40 })
      })

      test('a view that moved to a store is not back by itself when older code runs again, which says what to do', async () => {
        await database.query(cardTables)
        const application = async (cards: ReturnType<typeof cardsView>) => {
          const card = query('card', {
            input: typeOf<{ id: number }>(),
            reads: { cards },
            execute: async ({ id }, { cards }) => (await cards.get(id))?.id,
          })
          const options = { database: lasting(database), schema, log: silentLog, pollIntervalMs: 10 }
          const app = headwater({ ...options, readModels: { cards }, queries: { card } })
          apps.push(app as unknown as Headwater)
          await app.start()
          await app.settle()
          return app
        }
        const before = await application(cardsView({}))
        await before.stop()
        const moved = await application(cardsView({ store }))
        await expect.poll(() => moved.readModel('cards').status()).toMatchObject({ state: 'live', version: 2, available: true })
        expect((await moved.query('card', { id: 1 })).result).toBe(1)
        await moved.stop()
        const back = await application(cardsView({}))
        await expect(back.query('card', { id: 1 })).rejects.toMatchObject({
          code: 'stopped',
          message: expect.stringContaining('rollback()'),
        })
        expect(await back.readModel('cards').status()).toMatchObject({
          available: false,
          error: expect.stringMatching(/does not use/),
        })
        await back.readModel('cards').rollback()
        expect((await back.query('card', { id: 1 })).result).toBe(1)
        expect(await back.readModel('cards').status()).toMatchObject({ state: 'live', version: 1, available: true, error: undefined })
      })
    })
  }
}

function inStore(views: ReturnType<typeof randomViews>, store: Store): Readonly<Record<string, MaterializedView>> {
  return Object.fromEntries(
    Object.entries(views).map(([name, view]) => [name, { ...view, '~view': { ...view['~view'], store } } as unknown as MaterializedView]),
  )
}

test('a view in a store is never sync', () => {
  expect(() =>
    materializedView('cards', {
      row: typeOf<{ id: number }>(),
      key: 'id',
      select: 'select id from cards',
      changedBy: { cards: 'id' },
      update: 'sync',
      store: memory(),
    }),
  ).toThrow(/cannot be "sync" in another store/)
})
