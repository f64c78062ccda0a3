import { type Database, type Headwater, headwater, materializedView, query, type Store, silentLog, type as typeOf } from 'headwater'
import { memory } from 'headwater/memory'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cardsView, cardTables } from './process/stored-views.ts'
import { databases, freshSchema, lasting } from './support/databases.ts'

interface Keyed {
  readonly u: string
  readonly i: number
  readonly n: string
  readonly t: string
  readonly d: string
  readonly s: string
  readonly l: string
  readonly p: string
  readonly b: boolean
}

const keyed = `
  create table keyed (u uuid, i bigint, n numeric, t timestamptz, d date, s text, l timestamp, p char(4), b boolean);
  insert into keyed values
    ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 7, 1.50, '2024-02-29 12:34:56.789012+02', '2024-02-29', 'O''Neill "q" \\ é', '2024-02-29 12:34:56.7', 'ab', true),
    ('b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', -9007199254740991, -0.00001, '2024-03-01 00:00:00Z', '0099-01-01', 'tab\there', '2024-01-01', 'abcd', false),
    ('c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 0, 100, 'infinity', 'infinity', '日本 \u{1f600}', 'infinity', '', true)`

/** What finds the first row by each column, beside the value that rows show. */
const forms: Readonly<Record<keyof Keyed, readonly unknown[]>> = {
  u: ['A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{a0eebc999c0b4ef8bb6d6bb9bd380a11}'],
  i: [7, '7', ' +07 ', 7n],
  n: ['1.5', '1.500', 1.5, '+01.5'],
  t: ['2024-02-29T10:34:56.789012Z', '2024-02-29 12:34:56.789012+02', '2024-02-29T12:34:56.789012+02:00'],
  d: [new Date('2024-02-29T00:00:00Z')],
  s: [],
  l: ['2024-02-29 12:34:56.7', '2024-02-29T12:34:56.700'],
  p: ['ab', 'ab  '],
  b: [],
}

for (const target of databases) {
  describe.skipIf(target.skip)(`reading views in a store, on ${target.name}`, () => {
    let database: Database
    let schema: string
    const apps: Headwater[] = []

    beforeEach(async () => {
      database = await target.open()
      schema = freshSchema()
    })

    afterEach(async () => {
      for (const app of apps.splice(0)) await app.stop()
      await database.query(`drop schema if exists "${schema}" cascade`)
      await database.close()
    })

    async function started<Q extends Readonly<Record<string, unknown>>>(options: Parameters<typeof headwater>[0] & { queries?: Q }) {
      const app = headwater({ ...options, database: lasting(database), schema, log: silentLog, pollIntervalMs: 10 })
      apps.push(app as unknown as Headwater)
      await app.start()
      return app
    }

    test('a key is found by whatever a table finds it by, of every type and composite', async () => {
      await database.query(keyed)
      const store = memory()
      const columns = Object.keys(forms) as (keyof Keyed)[]
      const view = (name: string, key: readonly (keyof Keyed)[], where?: Store) =>
        materializedView(name, {
          row: typeOf<Keyed>(),
          key,
          select: 'select u, i, n, t, d, s, l, p, b from keyed',
          changedBy: { keyed: key },
          ...(where ? { store: where } : {}),
        })
      const pairs = columns
        .filter((column) => column !== 'b')
        .flatMap((column) => [view(`table_${column}`, [column]), view(`store_${column}`, [column], store)])
      const all = [view('table_all', columns), view('store_all', columns, store)]
      const readModels = Object.fromEntries([...pairs, ...all].map((one) => [one.readModelName, one]))
      const reading = (name: string) =>
        query(`get_${name}`, {
          input: typeOf<{ keys: readonly unknown[] }>(),
          reads: { rows: readModels[name] as (typeof all)[0] },
          execute: async ({ keys }, { rows }) => await rows.getMany(keys as never),
        })
      const app = await started({
        database,
        readModels,
        queries: Object.fromEntries(Object.keys(readModels).map((name) => [name, reading(name)])),
      })
      await app.settle()
      const get = async (name: string, key: unknown) =>
        (await app.query(`get_${name}` as never, { keys: [key] } as never)).result as readonly Keyed[]
      const rows = (await database.query<Keyed>('select * from keyed order by u')).rows
      const [first] = rows
      if (!first) throw new Error('no row')
      for (const column of columns.filter((one) => one !== 'b')) {
        for (const key of [...rows.map((row) => row[column]), ...forms[column]]) {
          // The empty text is a key of the table, and none of a store.
          if (column === 'p' && String(key).trim() === '') continue
          const expected = await get(`table_${column}`, key)
          expect(expected, `${column} ${String(key)}`).toHaveLength(1)
          expect(await get(`store_${column}`, key), `${column} ${String(key)}`).toEqual(expected)
        }
      }
      for (const row of rows) expect(await get('store_all', row)).toEqual([row])
      const odd = Object.fromEntries(columns.map((column) => [column, forms[column][0] ?? first[column]]))
      expect(await get('store_all', odd)).toEqual(await get('table_all', odd))
      await expect(get('store_i', 'seven')).rejects.toMatchObject({ code: 'usage' })
      await expect(get('store_all', { u: first.u })).rejects.toMatchObject({ code: 'usage' })
      // A write under another text of the same key meets the same row.
      await database.query(`update keyed set n = 1.5000, s = 'moved' where n = 1.5`)
      await app.settle()
      expect(await get('store_n', '1.50')).toMatchObject([{ n: '1.5000', s: 'moved' }])
      for (const name of ['store_n', 'store_t', 'store_all']) expect((await app.readModel(name).verify()).differences).toEqual([])
    })

    test('find gives the same rows in the same order as a table, page by page', async () => {
      await database.query(`${cardTables};
        insert into cards values (1000, 'thousand', 9.5, 'c1', 'infinity'), (1001, 'below', -3.25, null, '2020-01-01'), (1002, 'less', -3.3, '', '2020-01-01'), (1003, 'none', 0, 'C1', '2020-01-01')`)
      const store = cardsView({ store: memory(), name: 'in_store' })
      const { store: _none, ...table } = cardsView({ store: memory(), name: 'in_table' })['~view']
      const views = { store, table: { ...cardsView({ store: memory(), name: 'in_table' }), '~view': table } }
      const find = (name: 'store' | 'table') =>
        query(`find_${name}`, {
          input: typeOf<{ request: object }>(),
          reads: { cards: views[name] },
          execute: async ({ request }, { cards }) => await cards.find(request),
        })
      const app = await started({ database, readModels: views, queries: { store: find('store'), table: find('table') } })
      await app.settle()
      const page = async (name: string, request: object) =>
        (await app.query(`find_${name}` as never, { request } as never)).result as { items: readonly { id: number }[]; next: string | null }
      const whole = async (name: string, request: object) => {
        const ids: number[] = []
        for (let after: string | null = null; ; ) {
          const { items, next } = await page(name, { ...request, limit: 7, after })
          ids.push(...items.map(({ id }) => id))
          if (next === null) return ids
          after = next
        }
      }
      const requests: readonly object[] = [
        {},
        { orderBy: { id: 'desc' } },
        { where: { id: { gte: '3', lt: 12 } } },
        { orderBy: { price: 'asc' } },
        { orderBy: { price: 'desc' } },
        { where: { price: 10 } },
        { where: { price: { gt: '-3.30', lte: 9.5 } }, orderBy: { price: 'asc' } },
        { where: { category: 'c1' } },
        { where: { category: null }, orderBy: { changed: 'desc' } },
        { where: { category: 'c2', changed: { gt: '2024-01-01T00:10:00Z', lt: new Date('2024-01-01T00:30:00Z') } } },
        { where: { category: 'c2', changed: '2024-01-01 01:02:00+01' } },
      ]
      for (const request of requests) {
        const expected = await whole('table', request)
        expect(await whole('store', request), JSON.stringify(request)).toEqual(expected)
        expect(expected.length, JSON.stringify(request)).toBeGreaterThan(0)
      }
      expect((await page('store', { where: { id: 4 } })).items).toEqual((await page('table', { where: { id: 4 } })).items)
      await expect(page('store', { where: { title: 'card 1' } })).rejects.toMatchObject({ code: expect.stringMatching(/no_index|usage/) })
    })

    test('what only a table can do is refused by start(), by name', async () => {
      await database.query(`create table docs (id int primary key, span interval, body jsonb)`)
      const definition = { row: typeOf<{ id: number }>(), select: 'select id, span, body from docs', store: memory() }
      const byBody = materializedView('docs_view', {
        ...definition,
        key: 'id',
        changedBy: { docs: 'id' },
        indexes: { byBody: ['body'] as never },
      })
      const bySpan = materializedView('docs_view', { ...definition, key: 'span' as never, changedBy: { docs: 'span' } })
      const app = (view: unknown) => headwater({ database: lasting(database), schema, log: silentLog, readModels: { view } })
      await expect(app(byBody).start()).rejects.toThrow(/index "byBody" searches contents, which memory does not/)
      await expect(app(bySpan).start()).rejects.toThrow(/"span" is interval, by which memory cannot tell rows apart/)
    })
  })
}
