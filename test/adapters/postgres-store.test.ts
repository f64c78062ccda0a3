import { randomBytes } from 'node:crypto'
import { type Database, headwater, type Store, silentLog } from 'headwater'
import { postgres, postgresStore } from 'headwater/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { databases, freshSchema, postgresUrl } from '../support/databases.ts'
import { at, batch, change, freshModel } from '../support/stored-model.ts'

const server = databases.find(({ name }) => name === 'postgres')

describe.skipIf(server?.skip)('the store in PostgreSQL', () => {
  const schema = freshSchema('store')
  let database: Database
  let store: Store

  beforeAll(() => {
    database = postgres(postgresUrl, { poolSize: 2 })
    store = postgresStore(postgresUrl, { schema, poolSize: 2 })
  })

  afterAll(async () => {
    await store?.close?.()
    await database?.close()
  })

  describe('a part of it is gone', () => {
    async function filled() {
      const model = freshModel()
      const rows = [change(model, 'x', 0, 4, { name: 'x', n: 1 })]
      expect(await store.apply(model, batch(null, 5, rows, { park: [{ ...at(5), key: 'p', reason: '' }] }))).toBe('applied')
      const native = (await store.nativeOf?.(model)) as { table: { toSql(): string } }
      return { model, rows, table: native.table.toSql() }
    }

    async function beginsAnew({ model, rows }: Awaited<ReturnType<typeof filled>>) {
      expect(await store.checkpoints?.(model)).toEqual([])
      expect(await store.parked?.(model)).toEqual([])
      expect((await store.load(model, ['x'])).checkpoint).toBe(null)
      expect(await store.apply(model, batch(5, 6, []))).toBe('lost')
      expect(await store.apply(model, batch(null, 6, rows))).toBe('applied')
      expect(await store.load(model, ['x', 'p'])).toMatchObject({ checkpoint: at(6), parked: 0, rows: [{ key: 'x', position: 4 }] })
      expect(await store.apply(model, batch(5, 7, []))).toBe('lost')
    }

    test('the table of a version: it counts as not there, and begins anew', async () => {
      const one = await filled()
      await database.query(`drop table ${one.table}`)
      await beginsAnew(one)
    })

    test('its checkpoint: rows that are left over are not taken for new ones', async () => {
      const one = await filled()
      await database.query(`delete from ${schema}.stored_model where owner = $1`, [one.model.owner])
      expect(await store.checkpoints?.(one.model)).toEqual([])
      const newer = [change(one.model, 'y', 0, 9, { name: 'y', n: 1 })]
      expect(await store.apply(one.model, batch(null, 9, newer))).toBe('applied')
      expect((await store.load(one.model, ['x', 'y'])).rows.map(({ key }) => key)).toEqual(['y'])
    })

    test('the whole schema, under a store that is in use', async () => {
      const one = await filled()
      await database.query(`drop schema ${schema} cascade`)
      await beginsAnew(one)
    })

    test('nothing of a first batch that is lost is there afterwards', async () => {
      const model = freshModel()
      expect(await store.apply(model, batch(null, 5, [], { stillParked: ['nobody'] }))).toBe('lost')
      expect(await store.checkpoints?.(model)).toEqual([])
    })
  })

  describe('a row that it cannot hold', () => {
    const good = { name: 'good', n: 1 }
    const incompressible = randomBytes(22_000).toString('hex')
    const bad: Readonly<Record<string, object>> = {
      'a text in an index that is too long for one': { name: incompressible },
      'U+0000 in a text': { name: 'x', text: 'a\u0000b' },
      'half a surrogate pair': { name: 'x', text: '\ud800' },
      'a member named with U+0000': { name: 'x', 'a\u0000': 1 },
    }

    test.each(Object.entries(bad))('%s: its key is parked, the others are written', async (_what, row) => {
      const model = freshModel()
      const keys = Array.from({ length: 9 }, (_, i) => `k${i}`)
      const rows = keys.map((key, i) => change(model, key, 0, i + 1, i % 4 === 3 ? row : good))
      expect(await store.apply(model, batch(null, 9, rows))).toBe('parked')
      await store.index?.(model)
      const seen = await store.load(model, keys)
      expect(seen).toMatchObject({ checkpoint: at(9), parked: 2 })
      const written = seen.rows.filter((each) => each.row).map(({ key }) => key)
      expect(written.toSorted()).toEqual(keys.filter((_, i) => i % 4 !== 3))
      const [parked] = (await store.parked?.(model)) ?? []
      expect(parked).toMatchObject({ key: 'k3', position: 1, eventId: null })
      expect(parked?.reason).toMatch(/PostgreSQL cannot hold the row|is longer than 2600 bytes/)
      expect(await store.apply(model, batch(9, 12, [change(model, 'k0', 1, 12, good)]))).toBe('applied')
    })

    test('a new state of a row: the last good one stays, also where the index is there already', async () => {
      const model = freshModel()
      expect(await store.apply(model, batch(null, 2, [change(model, 'x', 0, 1, good), change(model, 'y', 0, 2, good)]))).toBe('applied')
      const native = (await store.nativeOf?.(model)) as { table: { toSql(): string } }
      await database.query(`create index on ${native.table.toSql()} ((row ->> 'text'))`)
      const rows = [change(model, 'x', 1, 3, { ...good, text: incompressible }), change(model, 'y', 2, 4, { ...good, n: 2 })]
      expect(await store.apply(model, batch(2, 4, rows))).toBe('parked')
      const { rows: left } = await store.load(model, ['x', 'y'])
      expect(left.map(({ key, position, parked }) => [key, position, parked?.position])).toEqual([
        ['x', 1, 3],
        ['y', 4, undefined],
      ])
      const retried = batch(4, 4, [change(model, 'x', 1, 3, { ...good, text: incompressible })], { unpark: ['x'] })
      expect(await store.apply(model, retried)).toBe('parked')
      expect(await store.apply(model, batch(4, 4, [change(model, 'x', 1, 3, good)], { unpark: ['x'] }))).toBe('applied')
      expect((await store.load(model, [])).parked).toBe(0)
    })

    test('a batch with one is lost where it would be lost without it', async () => {
      const model = freshModel()
      const broken = change(model, 'x', 0, 6, { name: 'x', text: '\ud800' })
      expect(await store.apply(model, batch(null, 5, [change(model, 'x', 0, 5, good)]))).toBe('applied')
      expect(await store.apply(model, batch(4, 9, [{ ...broken, was: 5 }]))).toBe('lost')
      expect(await store.apply(model, batch(5, 9, [broken, change(model, 'y', 0, 7, { name: 'x', text: '\ud800' })]))).toBe('lost')
      expect(await store.load(model, ['x'])).toMatchObject({ checkpoint: at(5), parked: 0, rows: [{ position: 5 }] })
    })
  })

  describe('a schema with something else in it', () => {
    async function refused(wanted: { code: string; message: RegExp }, foreign: string) {
      const other = postgresStore(postgresUrl, { schema: foreign, poolSize: 1 })
      const model = freshModel()
      const message = expect.stringMatching(wanted.message)
      await expect(other.load(model, ['x'])).rejects.toMatchObject({ code: wanted.code, message })
      await expect(other.checkpoints?.(model)).rejects.toMatchObject({ code: wanted.code })
      await expect(other.apply(model, batch(null, 5, []))).rejects.toMatchObject({ code: wanted.code, message })
      await other.close()
    }

    test.each(['checkpoint', 'stored_model', 'parked_key'])('tables of others are refused by name: %s', async (table) => {
      const foreign = freshSchema('foreign')
      await database.query(`create schema ${foreign}; create table ${foreign}.${table} (id integer, note text)`)
      await refused({ code: 'other_version', message: new RegExp(`schema ${foreign} holds ${table}.*a schema of its own`) }, foreign)
    })

    test("an application's own schema is refused by name", async () => {
      const foreign = freshSchema('foreign')
      const app = headwater({ database: postgres(postgresUrl, { poolSize: 2 }), schema: foreign, log: silentLog })
      await app.start()
      await app.stop()
      await refused({ code: 'other_version', message: /application's own tables.*a schema of its own/ }, foreign)
      const { rows } = await database.query(`select to_regclass('${foreign}.stored_model') as made`)
      expect(rows).toEqual([{ made: null }])
    })

    test('a newer format is refused, and tables from before formats were told are brought to this one', async () => {
      const foreign = freshSchema('foreign')
      const first = postgresStore(postgresUrl, { schema: foreign, poolSize: 1 })
      const model = freshModel()
      await first.apply(model, batch(null, 5, []))
      await database.query(`comment on table ${foreign}.stored_model is null; alter table ${foreign}.checkpoint drop column turn`)
      const second = postgresStore(postgresUrl, { schema: foreign, poolSize: 1 })
      expect(await second.apply(model, batch(5, 5, []))).toBe('applied')
      for (const each of [first, second]) await each.close()
      await database.query(`comment on table ${foreign}.stored_model is 'Headwater store, format 2'`)
      await refused({ code: 'newer_schema', message: /in format 2, and this version knows 1/ }, foreign)
    })
  })
})
