import {
  type Database,
  DatabaseError,
  DefinitionError,
  type FindOptions,
  InvalidInputError,
  NoIndexError,
  ParkedError,
  type Reader,
  type SqlClient,
  UsageError,
} from 'headwater'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sqlOn } from '../src/database/sql.ts'
import { planFind } from '../src/read-model/find.ts'
import { checkIndexes, indexColumns, looseType, type StoredTable } from '../src/read-model/stored-table.ts'
import { tableReader } from '../src/read-model/table-reader.ts'
import { databases } from './support/databases.ts'
import { fill, park, storedTable } from './support/stored-table.ts'

type Item = Record<string, unknown>
type Find = FindOptions<Item, string>

function readerOf(client: SqlClient, stored: StoredTable, check: 'none' | 'strict' = 'none'): Reader<Item, unknown> {
  return tableReader(client, { name: 'things', stored: () => stored, check })
}

/** All pages, one after the other. */
async function pages(reader: Reader<Item, unknown>, options: Find): Promise<readonly (readonly Item[])[]> {
  const found: (readonly Item[])[] = []
  let after: string | null = null
  do {
    const page: { items: readonly Item[]; next: string | null } = await reader.find({ ...options, after })
    found.push(page.items)
    after = page.next
  } while (after !== null)
  return found
}

async function all(reader: Reader<Item, unknown>, options: Find, column: string): Promise<readonly unknown[]> {
  return (await pages(reader, options)).flat().map((row) => row[column])
}

const column = (name: string, type = 'integer') => ({ name, type, collatable: type === 'text' })
const shelf: StoredTable = {
  schema: 's',
  table: 'books',
  columns: [
    column('id'),
    column('author', 'text'),
    column('year'),
    column('title', 'text'),
    column('note', 'json'),
    column('tags', 'text[]'),
    column('doc', 'jsonb'),
  ],
  key: ['id'],
  indexes: { byAuthor: ['author', 'year'], byYear: ['year'], byTitle: ['author', 'year', 'title'] },
  view: 1,
}
const plan = (options: Parameters<typeof planFind>[1]) => planFind(shelf, options, 'books')

describe('choosing an index', () => {
  test('nothing asked: the primary key', () => {
    expect(plan({})).toEqual({ index: undefined, fixed: [], bounds: [], order: ['id'], direction: 'asc', limit: 100 })
  })

  test('equality, then a range, then the order of what follows', () => {
    expect(plan({ where: { author: 'x', year: { gte: 1, lt: 9 } }, orderBy: { year: 'desc' }, limit: 5 })).toEqual({
      index: 'byAuthor',
      fixed: [{ column: 'author', value: 'x' }],
      bounds: [
        { operator: '>=', value: 1 },
        { operator: '<', value: 9 },
      ],
      order: ['year', 'id'],
      direction: 'desc',
      limit: 5,
    })
  })

  test('equality columns stand in any order, and may stand anywhere in orderBy', () => {
    const chosen = plan({ where: { year: 3, author: null }, orderBy: { title: 'asc', author: 'asc' } })
    expect(chosen).toMatchObject({ index: 'byTitle', order: ['title', 'id'] })
    expect(chosen.fixed).toEqual([
      { column: 'author', value: null },
      { column: 'year', value: 3 },
    ])
  })

  test('the order may end before the index does, and may name the key', () => {
    expect(plan({ orderBy: { author: 'asc' } })).toMatchObject({ index: 'byAuthor', order: ['author', 'year', 'id'] })
    expect(plan({ orderBy: { year: 'asc', id: 'asc' } })).toMatchObject({ index: 'byYear', order: ['year', 'id'] })
  })

  test.each<[string, Parameters<typeof planFind>[1]]>([
    ['a range that does not follow the equality', { where: { author: { gt: 'a' }, year: 3 } }],
    ['two ranges', { where: { author: { gt: 'a' }, year: { gt: 3 } } }],
    ['a column that no index begins with', { where: { title: 'x' } }],
    ['an order that skips a column', { orderBy: { author: 'asc', title: 'asc' } }],
    ['an order in another sequence', { orderBy: { year: 'asc', author: 'asc' } }],
    ['an order that does not begin with the range', { where: { author: { gt: 'a' } }, orderBy: { year: 'asc' } }],
    ['more than the index has', { where: { id: 1, author: 'x' } }],
  ])('refuses %s', (_what, options) => {
    expect(() => plan(options)).toThrow(NoIndexError)
    expect(() => plan(options)).toThrow(/declared: primary key \(id\); byAuthor \(author, year\); byYear \(year\)/)
  })

  test('refuses directions that differ, and says so', () => {
    expect(() => plan({ orderBy: { author: 'asc', year: 'desc' } })).toThrow(NoIndexError)
    expect(() => plan({ orderBy: { author: 'asc', year: 'desc' } })).toThrow('all columns must go in one direction')
  })

  test.each<[string, Parameters<typeof planFind>[1]]>([
    ['an unknown column', { where: { colour: 1 } }],
    ['an unknown column to order by', { orderBy: { colour: 'asc' } }],
    ['a direction that is none', { orderBy: { year: 'down' } }],
    ['undefined, which must not drop the condition', { where: { author: undefined } }],
    ['an empty range', { where: { year: {} } }],
    ['a bound that is none', { where: { year: { above: 3 } } }],
    ['a null bound', { where: { year: { gt: null } } }],
  ])('refuses %s', (_what, options) => {
    expect(() => plan(options)).toThrow(UsageError)
  })

  test('a bound that is undefined is no bound', () => {
    expect(plan({ where: { year: { lt: undefined } }, orderBy: { year: 'desc' } })).toMatchObject({ index: 'byYear', bounds: [] })
  })

  test.each([0, 1001, 2.5, Number.NaN, '10'])('refuses the limit %s', (limit) => {
    expect(() => plan({ limit: limit as number })).toThrow(InvalidInputError)
  })
})

describe('declared indexes', () => {
  const declared = (...columns: string[]) => ({ ...shelf, indexes: { it: columns } })

  test('the columns of the key are appended', () => {
    expect(indexColumns(shelf, 'byAuthor')).toEqual(['author', 'year', 'id'])
    expect(indexColumns(declared('id', 'year'), 'it')).toEqual(['id', 'year'])
    expect(indexColumns(shelf, undefined)).toEqual(['id'])
  })

  test.each([
    ['no column', [], 'it names no column'],
    ['an unknown column', ['colour'], 'there is no column "colour"'],
    ['a column twice', ['year', 'year'], 'stands in it twice'],
    ['an index on contents with another column', ['tags', 'year'], 'must have that column alone'],
    ['contents after another column', ['year', 'doc'], 'column "doc" is jsonb, which has no order'],
    ['a type without order', ['note'], 'column "note" is json, which has no order'],
  ])('refuses %s', (_what, columns, message) => {
    expect(() => checkIndexes(declared(...columns))).toThrow(DefinitionError)
    expect(() => checkIndexes(declared(...columns))).toThrow(message)
  })

  test('takes the others', () => {
    expect(() => checkIndexes(shelf)).not.toThrow()
    expect(() => checkIndexes(declared('tags'))).not.toThrow()
  })

  test.each([
    ['character varying(3)', 'character varying'],
    ['character(3)', 'bpchar'],
    ['character(3)[]', 'bpchar[]'],
    ['bit(3)', '"bit"'],
    ['bit varying(3)', 'bit varying'],
    ['numeric(4,-1)', 'numeric'],
    ['timestamp(3) with time zone', 'timestamp with time zone'],
    ['interval day to second(2)', 'interval'],
    ['app."odd(1)"', 'app."odd(1)"'],
  ])('%s is cast to %s', (type, loose) => {
    expect(looseType(type)).toBe(loose)
  })
})

for (const target of databases) {
  describe.skipIf(target.skip)(`a reader on ${target.name}`, () => {
    let database: Database
    beforeAll(async () => {
      database = await target.open()
    })
    afterAll(() => database.close())

    const moments = Array.from({ length: 9 }, (_, i) => `2024-05-01T10:00:00.00123${i + 1}Z`)

    test('pages by microseconds lose no row', async () => {
      const stored = await storedTable(database, { columns: { id: 'int', at: 'timestamptz' }, key: ['id'], indexes: { newest: ['at'] } })
      await fill(
        database,
        stored,
        moments.map((at, i) => ({ id: i, at })),
      )
      const reader = readerOf(database, stored)
      const found = await pages(reader, { orderBy: { at: 'desc' }, limit: 3 })
      expect(found.map((page) => page.length)).toEqual([3, 3, 3])
      expect(found.flat().map(({ at }) => at)).toEqual(moments.toReversed())
      expect(await all(reader, { where: { at: { gt: moments[3], lte: moments[5] } } }, 'at')).toEqual(moments.slice(4, 6))
    })

    test('a cursor is exact whatever the session shows times as', async () => {
      const stored = await storedTable(database, {
        columns: { id: 'int', at: 'timestamptz', day: 'date', clock: 'time' },
        key: ['id'],
        indexes: { at: ['at', 'day', 'clock'] },
      })
      const ats = ['-infinity', '0044-03-15 00:00:00.000001+00 BC', ...moments, '20000-01-01T00:00:00.5Z', 'infinity']
      await fill(
        database,
        stored,
        ats.map((at, i) => ({ id: i, at, day: 'infinity', clock: '12:34:56.789012' })),
      )
      const zones = ['Asia/Kolkata', 'UTC', 'America/St_Johns', 'Europe/Dublin']
      const ids: unknown[] = []
      let after: string | null = null
      for (let page = 0; page === 0 || after !== null; page++) {
        const found: Awaited<ReturnType<Reader<Item>['find']>> = await database.transaction(async (transaction) => {
          await transaction.query(`set local TimeZone = '${zones[page % 4]}'`)
          return readerOf(transaction, stored).find({ orderBy: { at: 'asc' }, limit: 2, after })
        })
        ids.push(...found.items.map(({ id }) => id))
        after = found.next
      }
      expect(ids).toEqual(ats.map((_at, i) => i))
    })

    test('a cursor holds no text that depends on DateStyle', async () => {
      const stored = await storedTable(database, {
        columns: { id: 'int', at: 'timestamptz', day: 'date' },
        key: ['id'],
        indexes: { at: ['at', 'day'] },
      })
      await fill(database, stored, [
        { id: 1, at: moments[0], day: '2024-02-01' },
        { id: 2, at: moments[1], day: '2024-02-01' },
      ])
      const spied: string[] = []
      const spy: SqlClient = {
        query: async (text, values, options) => {
          // Rows in this style are refused by the database port; the text of the position is what is looked at here.
          const bare = text.replace(/^select .*?, (json_build_array)/, 'select null, null, null, $1')
          const result = await database.transaction(async (transaction) => {
            await transaction.query("set local DateStyle = 'SQL, DMY'")
            return transaction.query<readonly unknown[]>(bare, values, options)
          })
          spied.push(...result.rows.map((row) => String(row[3])))
          return result as never
        },
      }
      await readerOf(spy, stored).find({ orderBy: { at: 'asc' } })
      expect(spied[0]).toContain('"2024-02-01"')
      expect(spied[0]).toContain('2024-05-01T10:00:00.001231')
    })

    test('int8 beyond 2^53 and numeric with its scale are compared exactly', async () => {
      const stored = await storedTable(database, {
        columns: { id: 'numeric', big: 'int8' },
        key: ['id'],
        indexes: { big: ['big'] },
      })
      const safe = 9007199254740991
      await fill(database, stored, [
        { id: '1.0', big: safe },
        { id: '1.01', big: safe - 1 },
        { id: '12345678901234567890.123456789', big: safe },
        { id: 'NaN', big: -safe },
      ])
      const reader = readerOf(database, stored)
      expect(await all(reader, { where: { big: { lt: 9007199254740992n, gt: `${safe - 1}` } }, limit: 1 }, 'id')).toEqual([
        '1.0',
        '12345678901234567890.123456789',
      ])
      expect(await all(reader, { where: { big: 9007199254740993n } }, 'id')).toEqual([])
      expect(await all(reader, { limit: 1, orderBy: { id: 'desc' } }, 'id')).toEqual([
        'NaN',
        '12345678901234567890.123456789',
        '1.01',
        '1.0',
      ])
      expect(await reader.get('1.00')).toEqual({ id: '1.0', big: safe })
      expect(await reader.get('NaN')).toEqual({ id: 'NaN', big: -safe })
      expect(await reader.get('12345678901234567890.123456788')).toBeUndefined()
    })

    test('pages by int8 beyond 2^53', async () => {
      const stored = await storedTable(database, { columns: { id: 'int', big: 'int8' }, key: ['id'], indexes: { big: ['big'] } })
      const bigs = ['9007199254740992', '9007199254740993', '9007199254740994', '9223372036854775807']
      await fill(
        database,
        stored,
        bigs.map((big, i) => ({ id: i, big })),
      )
      // The port hands out no such integer, so the row shows it as text; the order and the cursor are of the column itself.
      const asText: SqlClient = {
        query: (text, values, options) => database.query(text.replace('t."big",', 't."big"::text,'), values, options),
      }
      expect(await all(readerOf(asText, stored), { orderBy: { big: 'asc' }, limit: 1 }, 'big')).toEqual(bigs)
      expect(await all(readerOf(asText, stored), { orderBy: { big: 'desc' }, limit: 2 }, 'big')).toEqual(bigs.toReversed())
    })

    test('floating point with NaN and the infinities', async () => {
      const stored = await storedTable(database, { columns: { id: 'int', x: 'float8' }, key: ['id'], indexes: { x: ['x'] } })
      const xs = ['-Infinity', -1.5, 0.1, 0.30000000000000004, 1e300, 'Infinity', 'NaN']
      await fill(
        database,
        stored,
        xs.map((x, i) => ({ id: i, x })),
      )
      const reader = readerOf(database, stored)
      expect(await all(reader, { orderBy: { x: 'asc' }, limit: 1 }, 'x')).toEqual(xs)
      expect(await all(reader, { orderBy: { x: 'desc' }, limit: 2 }, 'x')).toEqual(xs.toReversed())
      expect(await all(reader, { where: { x: 'NaN' } }, 'id')).toEqual([6])
    })

    test('text is ordered by code point, on a column of another collation too', async () => {
      const collation = target.name === 'postgres' ? 'collate "en-US-x-icu"' : ''
      const stored = await storedTable(database, {
        columns: { name: `text ${collation}`, kind: `varchar(9) ${collation}` },
        key: ['name'],
        indexes: { kind: ['kind'] },
      })
      const names = ['B', 'Z', '_', 'a', 'ab', 'b', 'z', 'Ä', 'ß', 'é', '\uFFFD', '😀']
      await fill(
        database,
        stored,
        names.toReversed().map((name) => ({ name, kind: name })),
      )
      const reader = readerOf(database, stored)
      for (const by of ['name', 'kind']) {
        expect(await all(reader, { orderBy: { [by]: 'asc' }, limit: 5 }, 'name')).toEqual(names)
        expect(await all(reader, { orderBy: { [by]: 'desc' }, limit: 5 }, 'name')).toEqual(names.toReversed())
        expect(await all(reader, { where: { [by]: { gte: 'a', lt: 'z' } } }, 'name')).toEqual(['a', 'ab', 'b'])
      }
      expect(await all(reader, { where: { kind: 'Ä' } }, 'name')).toEqual(['Ä'])
      expect((await reader.getMany(['é', 'x', 'B'])).map(({ name }) => name)).toEqual(['é', 'B'])
    })

    const nulls = [
      { id: 1, a: null, b: null },
      { id: 2, a: null, b: null },
      { id: 3, a: null, b: 1 },
      { id: 4, a: 1, b: null },
      { id: 5, a: 1, b: null },
      { id: 6, a: 1, b: 1 },
      { id: 7, a: 2, b: null },
      { id: 8, a: 2, b: 5 },
    ]

    test.each([1, 2, 3])('nulls come first ascending and last descending, %i a page', async (limit) => {
      const stored = await storedTable(database, {
        columns: { id: 'int', a: 'int', b: 'int' },
        key: ['id'],
        indexes: { ab: ['a', 'b'] },
      })
      await fill(database, stored, nulls.toReversed())
      const reader = readerOf(database, stored)
      const ids = nulls.map(({ id }) => id)
      expect(await all(reader, { orderBy: { a: 'asc', b: 'asc' }, limit }, 'id')).toEqual(ids)
      expect(await all(reader, { orderBy: { a: 'desc', b: 'desc' }, limit }, 'id')).toEqual(ids.toReversed())
      expect(await all(reader, { where: { a: null }, limit }, 'id')).toEqual([1, 2, 3])
      expect(await all(reader, { where: { a: 1, b: null }, orderBy: { id: 'desc' }, limit }, 'id')).toEqual([5, 4])
      expect(await all(reader, { where: { a: { lt: 2 } }, orderBy: { a: 'desc' }, limit }, 'id')).toEqual([6, 5, 4])
      expect(await all(reader, { where: { a: 1, b: { gte: 0 } }, limit }, 'id')).toEqual([6])
    })

    test('keys of several columns', async () => {
      const stored = await storedTable(database, {
        columns: { shop: 'text', sku: 'varchar(4)', at: 'timestamptz', stock: 'int' },
        key: ['shop', 'sku', 'at'],
        indexes: { stock: ['stock'] },
      })
      const rows = ['a', 'b'].flatMap((shop) =>
        ['x', 'y'].flatMap((sku) => moments.slice(0, 3).map((at, i) => ({ shop, sku, at, stock: i % 2 }))),
      )
      await fill(database, stored, rows)
      const reader = readerOf(database, stored)
      expect(await reader.get({ shop: 'a', sku: 'y', at: moments[1] })).toEqual(rows[4])
      expect(await reader.get({ shop: 'a', sku: 'y', at: moments[4] })).toBeUndefined()
      // Longer than the column is: cut to its length it would be another key.
      expect(await reader.get({ shop: 'a', sku: 'y   z', at: moments[1] })).toBeUndefined()
      const wanted = [9, 4, 0].map((i) => rows[i])
      expect(await reader.getMany([...wanted.slice(0, 1), { shop: 'b', sku: 'q', at: moments[0] }, ...wanted.slice(1)])).toEqual(wanted)
      expect((await pages(reader, { limit: 5 })).flat()).toEqual(rows)
      expect((await pages(reader, { where: { shop: 'b' }, orderBy: { sku: 'desc', at: 'desc' }, limit: 2 })).flat()).toEqual(
        rows.slice(6).toReversed(),
      )
      const byStock = (await pages(reader, { orderBy: { stock: 'asc' }, limit: 3 })).flat()
      expect(byStock).toEqual([...rows.filter(({ stock }) => stock === 0), ...rows.filter(({ stock }) => stock === 1)])
      expect(await reader.find({ where: { shop: 'a', sku: 'y', at: moments[1] }, limit: 1 })).toEqual({ items: [rows[4]], next: null })
      await expect(reader.get({ shop: 'a', sku: 'y' })).rejects.toThrow(UsageError)
      await expect(reader.getMany([undefined])).rejects.toThrow(UsageError)
      expect(await reader.getMany([])).toEqual([])
    })

    test('bytes are looked up as rows show them', async () => {
      const stored = await storedTable(database, { columns: { hash: 'bytea', n: 'int' }, key: ['hash'] })
      await fill(database, stored, [
        { hash: Buffer.from([0, 255, 92]), n: 1 },
        { hash: Buffer.from([1]), n: 2 },
      ])
      const reader = readerOf(database, stored)
      const [first] = (await reader.find({ limit: 1 })).items
      expect(first).toEqual({ hash: 'AP9c', n: 1 })
      expect(await reader.get(first?.hash)).toEqual(first)
      expect(await reader.getMany(['AQ==', first?.hash])).toEqual([{ hash: 'AQ==', n: 2 }, first])
      expect(await all(reader, { limit: 1, where: { hash: { gte: first?.hash } } }, 'n')).toEqual([1, 2])
    })

    test('a cursor of another find, or none at all, is invalid input', async () => {
      const stored = await storedTable(database, {
        columns: { id: 'int', a: 'int', at: 'timestamptz' },
        key: ['id'],
        indexes: { a: ['a', 'at'] },
      })
      await fill(
        database,
        stored,
        moments.map((at, i) => ({ id: i, a: i % 2, at })),
      )
      const reader = readerOf(database, stored)
      const { next } = await reader.find({ where: { a: 1 }, limit: 1 })
      const after = next ?? ''
      const parts: unknown[] = JSON.parse(Buffer.from(after, 'base64url').toString())
      const forged = Buffer.from(JSON.stringify([parts[0], 'yesterday-ish', '1'])).toString('base64url')
      const beyond = Buffer.from(JSON.stringify([parts[0], parts[1], '99999999999999999999'])).toString('base64url')
      const refused: Find[] = [
        { where: { a: 0 }, after },
        { where: { a: 1 }, orderBy: { at: 'desc' }, after },
        { where: { a: 1, at: { gt: moments[0] } }, after },
        { orderBy: { a: 'asc' }, after },
        { after },
        { where: { a: 1 }, after: '' },
        { where: { a: 1 }, after: 'garbage' },
        { where: { a: 1 }, after: Buffer.from('{"a":1}').toString('base64url') },
        { where: { a: 1 }, after: Buffer.from(JSON.stringify([parts[0]])).toString('base64url') },
        { where: { a: 1 }, after: forged },
        { where: { a: 1 }, after: beyond },
      ]
      for (const options of refused) {
        const error: unknown = await reader.find(options).catch((reason: unknown) => reason)
        expect(error, JSON.stringify(options)).toBeInstanceOf(InvalidInputError)
        expect((error as InvalidInputError).issues[0]?.path).toEqual(['after'])
      }
      expect((await reader.find({ where: { a: 1 }, after, limit: 7 })).items).toHaveLength(3)
      await expect(reader.find({ where: { a: 'no number' } })).rejects.toThrow(DatabaseError)
    })

    test('a parked key is an error where freshness was asked for, and is counted by find', async () => {
      const stored = await storedTable(database, { columns: { id: 'uuid', n: 'int' }, key: ['id'], indexes: { n: ['n'] } })
      const [there, gone, fine] = ['1', '2', '3'].map((digit) => `aaaaaaaa-0000-4000-8000-00000000000${digit}`)
      await fill(database, stored, [
        { id: there, n: 1 },
        { id: fine, n: 2 },
      ])
      const [loose, strict] = [readerOf(database, stored), readerOf(database, stored, 'strict')]
      expect(await strict.get(there)).toEqual({ id: there, n: 1 })
      expect(await strict.get(gone)).toBeUndefined()
      expect(await strict.getMany([fine, gone, there])).toEqual([
        { id: fine, n: 2 },
        { id: there, n: 1 },
      ])
      expect(await loose.find()).not.toHaveProperty('parked')
      await park(database, stored, String(there), 'division by zero')
      await park(database, stored, String(gone), 'no such thing')
      await park(database, stored, String(fine), 'of another version', 8)
      await expect(strict.get(there)).rejects.toThrow(new ParkedError('things', String(there), 'division by zero').message)
      await expect(strict.get(String(there).toUpperCase())).rejects.toThrow(ParkedError)
      await expect(strict.get(gone)).rejects.toThrow(ParkedError)
      await expect(strict.getMany([fine, gone])).rejects.toThrow('no such thing')
      expect(await strict.get(fine)).toEqual({ id: fine, n: 2 })
      expect(await loose.get(there)).toEqual({ id: there, n: 1 })
      expect(await loose.getMany([gone, there])).toHaveLength(1)
      expect(await strict.find({ limit: 1 })).toMatchObject({ parked: 2 })
      expect(await loose.find({ where: { n: 99 } })).toEqual({ items: [], next: null, parked: 2 })
    })

    test('a parked key is found by its value where its text is not the only one', async () => {
      const stored = await storedTable(database, {
        columns: { price: 'numeric(6,2)', at: 'timestamptz', n: 'int' },
        key: ['price', 'at'],
      })
      await fill(database, stored, [{ price: '1.50', at: moments[0], n: 1 }])
      // Another view's keys cannot be read with these types.
      await park(database, stored, 'not json', 'of another view', 8)
      const strict = readerOf(database, stored, 'strict')
      expect(await strict.get({ price: '1.5', at: moments[0] })).toMatchObject({ n: 1 })
      await park(database, stored, JSON.stringify(['1.50', '2024-05-01 12:00:00.001231+02']), 'why')
      await expect(strict.get({ price: '1.5', at: moments[0] })).rejects.toThrow('why')
      expect(await strict.get({ price: '1.5', at: moments[1] })).toBeUndefined()
      expect(await strict.get({ price: '1.501', at: moments[0] })).toBeUndefined()
      const single = await storedTable(database, { columns: { price: 'numeric', n: 'int' }, key: ['price'] })
      await park(database, single, 'not a number', 'of another view', 8)
      await park(database, single, '2.0', 'because')
      await expect(readerOf(database, single, 'strict').getMany(['1', '2.000'])).rejects.toThrow('key 2.0 is parked: because')
      expect(await readerOf(database, single, 'strict').get('3')).toBeUndefined()
    })

    test('columns may have any name and any type', async () => {
      const stored = await storedTable(database, {
        columns: { 'a "b"': 'text', order: 'int', tags: 'text[]', doc: 'jsonb', raw: 'json', key: 'text', t: 'bool' },
        key: ['a "b"'],
        indexes: { odd: ['t', 'order'], tags: ['tags'] },
      })
      const rows = [
        { 'a "b"': "it's", order: 1, tags: ['x', 'y'], doc: { b: [1] }, raw: { c: null }, key: null, t: true },
        { 'a "b"': 'z', order: null, tags: null, doc: null, raw: null, key: 'k', t: true },
      ]
      await fill(database, stored, rows)
      const reader = readerOf(database, stored)
      expect(await reader.get("it's")).toEqual(rows[0])
      expect(await readerOf(database, stored, 'strict').getMany(['z', "it's"])).toEqual(rows.toReversed())
      expect((await pages(reader, { where: { t: true }, orderBy: { order: 'desc' }, limit: 1 })).flat()).toEqual(rows)
      await expect(reader.find({ where: { tags: ['x', 'y'] } })).rejects.toThrow('tags (tags) for sql alone')
      const sql = sqlOn(database)
      expect(await sql`select count(*)::int as n from ${reader} where "order" = ${1}`).toEqual([{ n: 1 }])
      expect(reader.toSql()).toBe(`"${stored.schema}"."stored"`)
    })

    describe('the plan of a statement', () => {
      let stored: StoredTable
      beforeAll(async () => {
        stored = await storedTable(database, {
          columns: { id: 'text', a: 'int', b: 'timestamptz', c: 'text' },
          key: ['id'],
          indexes: { abc: ['a', 'b', 'c'] },
        })
        await database.query(`insert into ${stored.schema}.stored
          select i::text, nullif(i % 5, 0), case when i % 7 > 0 then timestamptz '2024-01-01' + i * interval '1 us' end, nullif(i % 3, 0)::text from generate_series(1, 3000) i`)
        await database.query(`analyze ${stored.schema}.stored`)
      })

      async function plansOf(options: Find, table = stored): Promise<readonly string[]> {
        const plans: string[] = []
        await database.transaction(async (transaction) => {
          await transaction.query('set local enable_seqscan = off; set local enable_bitmapscan = off')
          const spy: SqlClient = {
            query: async (text, values, how) => {
              const { rows } = await transaction.query<{ 'QUERY PLAN': string }>(`explain ${text}`, values)
              plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'))
              return transaction.query(text, values, how)
            },
          }
          const reader = readerOf(spy, table)
          let { next } = await reader.find({ ...options, limit: 50 })
          for (let page = 1; page < 9 && next !== null; page++) next = (await reader.find({ ...options, limit: 50, after: next })).next
        })
        return plans
      }

      test.each<[string, Find]>([
        ['the key', {}],
        ['the key, descending', { orderBy: { id: 'desc' } }],
        ['ascending through nulls', { orderBy: { a: 'asc' } }],
        ['descending', { orderBy: { a: 'desc', b: 'desc' } }],
        ['after equality', { where: { a: 1 }, orderBy: { b: 'asc' } }],
        ['descending after equality', { where: { a: 1 }, orderBy: { b: 'desc' } }],
        ['after null', { where: { a: null }, orderBy: { b: 'desc' } }],
        ['in a range', { where: { a: 1, b: { gte: '2024-01-01T00:00:00.000100Z' } }, orderBy: { b: 'desc' } }],
      ])('%s: its index alone, without a sort of the whole', async (_what, options) => {
        const plans = await plansOf(options)
        expect(plans.length).toBeGreaterThan(5)
        for (const found of plans) {
          expect(found).toMatch(/Index (Only )?Scan (Backward )?using (abc|key_by_code_point)/)
          expect(found).not.toMatch(/Seq Scan on stored|Bitmap|Filter|Incremental/)
        }
        // What is in a range is not null, and needs no branch for that.
        if (options.where?.b !== undefined) for (const found of plans) expect(found).not.toContain('(b IS NULL)')
        for (const later of plans.slice(1)) {
          const scans = later.match(/Index .* on stored.*\n.*/g) ?? []
          for (const scan of scans) expect(scan).toContain('Index Cond')
          expect(scans.length).toBeGreaterThan(0)
        }
      })

      test('a key without text: the primary key itself', async () => {
        const numbered = await storedTable(database, { columns: { id: 'int', n: 'int' }, key: ['id'] })
        await database.query(`insert into ${numbered.schema}.stored select i, i from generate_series(1, 500) i`)
        await database.query(`analyze ${numbered.schema}.stored`)
        for (const direction of ['asc', 'desc'] as const) {
          const plans = await plansOf({ orderBy: { id: direction } }, numbered)
          for (const found of plans) expect(found).toMatch(/Index Scan (Backward )?using stored_pkey on stored/)
          for (const found of plans) expect(found).not.toContain('Sort')
        }
      })

      test('rows by key: the primary key', async () => {
        await database.transaction(async (transaction) => {
          await transaction.query('set local enable_seqscan = off')
          for (const check of ['none', 'strict'] as const) {
            const plans: string[] = []
            const spy: SqlClient = {
              query: async (text, values) => {
                const { rows } = await transaction.query<{ 'QUERY PLAN': string }>(`explain ${text}`, values)
                plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'))
                return { rows: [], rowCount: 0 }
              },
            }
            const reader = readerOf(spy, stored, check)
            await reader.get('1')
            await reader.getMany(['1', '2'])
            for (const found of plans) expect(found).toMatch(/Index Scan using (stored_pkey|key_by_code_point)/)
          }
        })
      })
    })
  })
}
