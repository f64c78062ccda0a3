import {
  type Database,
  type Headwater,
  headwater,
  type Log,
  materializedView,
  query,
  type Store,
  silentLog,
  type as typeOf,
} from 'headwater'
import { memory } from 'headwater/memory'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { databases, freshSchema, lasting } from './support/databases.ts'

interface Valued {
  readonly id: number
  readonly v: unknown
}

/** For each type values in no order, and a condition that PostgreSQL and a store must understand alike. */
const ordered: Readonly<Record<string, { readonly values: readonly string[]; readonly where: readonly object[] }>> = {
  'double precision': {
    values: ['NaN', '-Infinity', '0', '-0', '1.5', '-1.5', '1e300', '-1e300', '5e-324', 'Infinity', '0.1', 'NaN'],
    where: [{ gt: 1.5 }, { gte: 'NaN' }, { lt: 0 }, { gt: '-Infinity', lte: 'Infinity' }, { gte: '1e300' }],
  },
  real: {
    values: ['0.1', '0.3', 'NaN', 'Infinity', '-Infinity', '-0.1', '16777216', '0'],
    where: [{ gt: 0.1 }, { lte: 0.1 }, { gt: 0.3 }],
  },
  bytea: {
    values: ['\\x', '\\x00', '\\xff', '\\x7f', '\\x00ff', '\\xfb', '\\x0000', '\\x69b71d'],
    where: [{ gt: Buffer.from([0]) }, { lt: '+w==' }, { gte: '' }],
  },
  date: {
    values: [
      '2024-01-01',
      '10000-01-01',
      '0044-03-15 BC',
      '0044-01-01 BC',
      '0300-01-01 BC',
      '0001-01-01',
      'infinity',
      '-infinity',
      '5874897-12-31',
    ],
    where: [{ gt: '2024-01-01' }, { lt: '0044-02-01 BC' }, { lte: 'infinity', gt: '-infinity' }, { gt: new Date('2023-12-31T00:00:00Z') }],
  },
  timestamp: {
    values: [
      '2024-01-01 00:00:00.000001',
      '2024-01-01 00:00:00.000002',
      '2024-01-01',
      '12345-01-01',
      '0044-03-15 01:00 BC',
      '0300-01-01 BC',
      'infinity',
    ],
    where: [{ gt: '2024-01-01T00:00:00.000001' }, { gte: '12345-01-01T00:00' }, { lt: '0044-03-15T02:00:00 BC' }],
  },
  timestamptz: {
    values: [
      ...['2024-01-01 00:00:00.000001Z', '2024-01-01 00:00:00.000002Z', '2024-01-01 00:00:00Z', '12345-01-01Z', '0044-03-15 01:00Z BC'],
      ...['0001-01-01 00:30Z', '0300-01-01Z BC', '-infinity', 'infinity', '294276-12-31Z'],
    ],
    where: [
      { gt: '2024-01-01T01:00:00.000001+01:00' },
      { gte: '12345-01-01T00:00:00Z' },
      { lt: '0001-01-01T00:15:00+01' },
      { lte: new Date('-000043-03-15T01:00:00Z') },
      { gt: new Date('+010000-01-01T00:00:00Z') },
    ],
  },
  time: { values: ['01:00', '10:00', '09:00:00.5', '09:00:00.45', '09:00:00', '24:00'], where: [{ gt: '09:00' }, { lte: '09:00:00.50' }] },
  numeric: { values: ['NaN', 'Infinity', '-Infinity', '1.50', '-1.5', '10', '9', '0.001'], where: [{ gt: '9' }, { gte: 'NaN' }] },
  'char(4)': { values: ['ab', 'abc', 'a', '', 'b', 'a\t'], where: [{ gt: 'ab ' }] },
  'bit varying': { values: ['1', '10', '01', '100000001', '11'], where: [{ gt: '1' }] },
  text: { values: ['a', 'B', 'é', '\u{1f600}', '\uff5e', ''], where: [{ gt: 'a' }] },
  bigint: { values: ['9007199254740991', '-5', '10', '9'], where: [{ gt: 9 }] },
  boolean: { values: ['true', 'false'], where: [{ gte: true }] },
  uuid: {
    values: ['b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    where: [{ gt: 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11' }],
  },
}

for (const target of databases) {
  describe.skipIf(target.skip)(`values of views in stores, on ${target.name}`, () => {
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

    async function started(options: Parameters<typeof headwater>[0], log: Log = silentLog) {
      const app = headwater({ ...options, database: lasting(database), schema, log, pollIntervalMs: 10 })
      apps.push(app as unknown as Headwater)
      await app.start()
      return app as unknown as Headwater
    }

    const viewOf = (name: string, table: string, store?: Store) =>
      materializedView(name, {
        row: typeOf<Valued>(),
        key: 'id',
        select: `select id, v from ${table}`,
        changedBy: { [table]: 'id' },
        indexes: { byV: ['v'] },
        ...(store ? { store } : {}),
      })

    test('find orders and bounds every type in a store as in a table, page by page', { timeout: 120_000 }, async () => {
      const store = memory()
      const types = Object.keys(ordered)
      const readModels: Record<string, ReturnType<typeof viewOf>> = {}
      const queries: Record<string, unknown> = {}
      for (const [i, type] of types.entries()) {
        await database.query(`create table t${i} (id int primary key, v ${type})`)
        const values = ordered[type]?.values ?? []
        await database.query(`insert into t${i} select n, v::${type} from unnest($1::text[]) with ordinality s(v, n)`, [values])
        await database.query(`insert into t${i} values (100, null)`)
        for (const [where, given] of [
          ['table', undefined],
          ['store', store],
        ] as const) {
          const name = `${where}_${i}`
          const view = viewOf(name, `t${i}`, given)
          readModels[name] = view
          queries[name] = query(name, {
            input: typeOf<{ request: object }>(),
            reads: { view },
            execute: async ({ request }, { view }) => await view.find(request as never),
          })
        }
      }
      const app = await started({ database, readModels, queries })
      await app.settle()
      const pages = async (name: string, request: object) => {
        const found: Valued[] = []
        for (let after: string | null = null; ; ) {
          const { result } = (await app.query(name as never, { request: { ...request, limit: 2, after } } as never)) as {
            result: { items: readonly Valued[]; next: string | null }
          }
          found.push(...result.items)
          if (result.next === null) return found
          after = result.next
        }
      }
      for (const [i, type] of types.entries()) {
        const conditions = (ordered[type]?.where ?? []).map((where) => ({ where: { v: where } }))
        const equal = (await pages(`table_${i}`, { orderBy: { v: 'asc' } })).map(({ v }) => ({ where: { v } }))
        const requests = [{ orderBy: { v: 'asc' } }, { orderBy: { v: 'desc' } }, ...conditions, ...equal]
        for (const request of requests) {
          const expected = await pages(`table_${i}`, request)
          expect(expected.length, `${type} ${JSON.stringify(request)}`).toBeGreaterThan(0)
          expect(
            (await pages(`store_${i}`, request)).map(({ id }) => id),
            `${type} ${JSON.stringify(request)}`,
          ).toEqual(expected.map(({ id }) => id))
        }
      }
    })

    test('an index over what only PostgreSQL can order is refused by start(), in a store alone', async () => {
      await database.query(`create type mood as enum ('sad', 'ok', 'happy')`)
      const types = ['mood', 'interval', 'inet', 'int[]', 'int4range', 'timetz', 'macaddr']
      for (const [i, type] of types.entries()) {
        await database.query(`create table r${i} (id int primary key, w text, v ${type})`)
        const view = (store?: Store) =>
          materializedView('ranked', {
            row: typeOf<Valued & { w: string }>(),
            key: 'id',
            select: `select id, w, v from r${i}`,
            changedBy: { [`r${i}`]: 'id' },
            indexes: { byWV: ['w', 'v'] },
            ...(store ? { store } : {}),
          })
        const app = (store?: Store) =>
          headwater({ database: lasting(database), schema: `${schema}`, log: silentLog, readModels: { ranked: view(store) } })
        const pattern = /index "byWV": the column "v" is .*, by which memory cannot order rows; cast it to text or a number in the SELECT/
        await expect(app(memory()).start(), type).rejects.toThrow(pattern)
      }
      const table = await started({ database, readModels: { ranked: viewOf('ranked', 'r0') } })
      await table.settle()
      expect((await table.readModel('ranked').status()).state).toBe('live')
    })

    test('rows whose text is too long for an index, and JSON that is no text, park their keys with the reason, in a table and a store', async () => {
      await database.query(
        `create table long (id int primary key, v text, j json); insert into long select i, 'x', '{}' from generate_series(1, 5) i`,
      )
      const view = (name: string, store?: Store) =>
        materializedView(name, {
          row: typeOf<{ id: number; v: string; j: unknown }>(),
          key: 'id',
          select: 'select id, v, j from long',
          changedBy: { long: 'id' },
          indexes: { byV: ['v'] },
          ...(store ? { store } : {}),
        })
      // It was there before the indexes were.
      const tooLong = `(select string_agg(md5(i::text), '') from generate_series(1, 700) i)`
      await database.query(`update long set v = ${tooLong} where id = 1`)
      const app = await started({ database, readModels: { home: view('home'), away: view('away', memory()) } })
      await app.settle()
      const parked = async (name: string) =>
        (
          await database.query<{ key: string; reason: string }>(
            `select p.key, p.reason from "${schema}".parked p join "${schema}".view v on v.id = p.view where v.name = $1 order by 1`,
            [name],
          )
        ).rows
      const state = async (name: string) => {
        const { state, parked, pending, error } = await app.readModel(name).status()
        return { state, parked, pending, error }
      }
      const one = { state: 'live', parked: 1, pending: 0, error: undefined }
      expect([await state('home'), await state('away')]).toEqual([one, one])
      expect(await parked('home')).toEqual([
        { key: '1', reason: expect.stringMatching(/^index row requires .* maximum size is 8191|exceeds btree/) },
      ])
      expect(await parked('away')).toEqual([{ key: '1', reason: 'what index byV orders the row by is longer than 2048 bytes' }])
      await database.query(`update long set v = 'short' where id = 1; update long set v = ${tooLong} where id = 2`)
      await database.query(`update long set j = '{"a":["\\u0000"]}' where id = 3; update long set j = '{"\\ud800":1}' where id = 4`)
      await database.query(`update long set j = '{"a":"\\\\u0000"}' where id = 5`)
      await app.settle()
      expect([await state('home'), await state('away')]).toEqual([one, { ...one, parked: 3 }])
      expect((await parked('home')).map(({ key }) => key)).toEqual(['2'])
      expect(await parked('away')).toEqual([
        { key: '2', reason: 'what index byV orders the row by is longer than 2048 bytes' },
        { key: '3', reason: 'the row at j.a.0 contains the character U+0000, which not every store can keep' },
        { key: '4', reason: 'the row at j contains half of a surrogate pair, which is no valid text' },
      ])
      for (const name of ['home', 'away']) expect((await app.readModel(name).verify()).differences).toEqual([])
      await database.query(`update long set v = 'x', j = '{}'`)
      await app.settle()
      expect([await state('home'), await state('away')]).toEqual([
        { ...one, parked: 0 },
        { ...one, parked: 0 },
      ])
    })
  })
}

test('a key may begin with the last character there is', async () => {
  const target = databases.findLast(({ skip }) => !skip)
  if (!target) throw new Error('no database')
  const database = await target.open()
  const store = memory()
  await database.query(`create table last_keys (k text primary key)`)
  const schema = freshSchema()
  const keys = materializedView('keys', {
    row: typeOf<{ k: string }>(),
    key: 'k',
    select: 'select k from last_keys',
    changedBy: { last_keys: 'k' },
    store,
  })
  const app = headwater({ database, schema, log: silentLog, pollIntervalMs: 10, readModels: { keys } })
  await app.start()
  await app.settle()
  const model = { owner: schema, name: 'keys', version: 1, indexes: [] }
  const { checkpoint } = await store.load(model, [])
  if (!checkpoint) throw new Error('nothing was stored')
  const last = '\u{10ffff}\u{10ffff}a'
  await store.apply(model, {
    partitions: { first: 0, last: 63 },
    from: checkpoint,
    to: checkpoint,
    rows: [{ key: last, was: undefined, position: checkpoint.position, version: null, row: '{}', index: ['4'] }],
    park: [],
    unpark: [],
  })
  expect((await app.readModel('keys').verify()).differences).toEqual([{ key: last, kind: 'surplus' }])
  await app.readModel('keys').rebuild()
  await app.settle()
  expect((await app.readModel('keys').verify()).differences).toEqual([])
  await app.stop()
})
