import fc from 'fast-check'
import type { Database, FindOptions } from 'headwater'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { indexColumns, type StoredTable } from '../src/read-model/stored-table.ts'
import { tableReader } from '../src/read-model/table-reader.ts'
import { databases } from './support/databases.ts'
import { storedTable } from './support/stored-table.ts'

type Value = string | number | boolean | null
type Item = Readonly<Record<string, Value>>

const moments = ['-infinity', '2024-05-01T10:00:00.001231Z', '2024-05-01T10:00:00.001232Z', '2024-05-01T10:00:00.001900Z', 'infinity']
/** The values of each column, ascending: few, so that rows often agree. */
const values: Readonly<Record<string, readonly Value[]>> = {
  area: ['A', 'a', 'ä'],
  id: Array.from({ length: 40 }, (_, i) => i - 20),
  kind: ['', 'B', 'Z', 'a', 'ab', 'Ä', '\uFFFD', '😀'],
  amount: ['-1.5', '0', '0.0000000000000000000001', '12345678901234567890', 'NaN'],
  at: moments,
  open: [false, true],
}
const indexes = {
  kind: ['kind'],
  amount: ['kind', 'amount'],
  at: ['amount', 'at'],
  all: ['at', 'open', 'kind', 'amount'],
  open: ['open', 'id', 'kind'],
}
const columns = { area: 'text', id: 'int', kind: 'text', amount: 'numeric', at: 'timestamptz', open: 'bool' }

interface Case {
  readonly rows: readonly Item[]
  readonly index: keyof typeof indexes | undefined
  readonly fixed: number
  readonly ordered: number
  readonly bounds: { readonly gt?: number; readonly gte?: number; readonly lt?: number; readonly lte?: number } | undefined
  /** Positions in `values` of what equality asks for; -1 is null. */
  readonly wanted: readonly number[]
  readonly direction: 'asc' | 'desc'
  readonly limit: number
}

const rank = (column: string, value: Value) => (value === null ? -1 : (values[column] ?? []).indexOf(value))
const nullable = (column: string) => fc.option(fc.constantFrom(...(values[column] ?? [])), { freq: 3 })
const row = fc.record({
  area: fc.constantFrom(...(values.area ?? [])),
  id: fc.constantFrom(...(values.id ?? [])),
  kind: nullable('kind'),
  amount: nullable('amount'),
  at: nullable('at'),
  open: nullable('open'),
})
const place = fc.nat({ max: 7 })
const bounds = fc.oneof(
  fc.record({ gt: place }),
  fc.record({ gte: place, lt: place }),
  fc.record({ lte: place }),
  fc.record({ gt: place, lte: place }),
)

function cases(key: readonly string[]): fc.Arbitrary<Case> {
  return fc.record({
    rows: fc.uniqueArray(row, { maxLength: 40, selector: (item: Item) => key.map((column) => item[column]).join(' ') }),
    index: fc.constantFrom(undefined, ...(Object.keys(indexes) as (keyof typeof indexes)[])),
    fixed: fc.nat({ max: 3 }),
    ordered: fc.nat({ max: 5 }),
    bounds: fc.option(bounds, { nil: undefined }),
    wanted: fc.array(fc.integer({ min: -1, max: 4 }), { minLength: 4, maxLength: 4 }),
    direction: fc.constantFrom('asc' as const, 'desc' as const),
    limit: fc.integer({ min: 1, max: 9 }),
  })
}

/** The options, the rows that they should give in order, and whether the order asked for is total. */
function expected(
  stored: StoredTable,
  { index, rows, direction, ...asked }: Case,
): { options: FindOptions<Item, string>; items: Item[]; complete: boolean } {
  const physical = indexColumns(stored, index)
  const fixed = physical.slice(0, Math.min(asked.fixed, physical.length - 1))
  const rest = physical.slice(fixed.length)
  const range = rest[0] ?? ''
  const equal = fixed.map((column, i): [string, Value] => [column, values[column]?.[asked.wanted[i] ?? 0] ?? null])
  const limits = Object.entries(asked.bounds ?? {}).map(([name, at]): [string, Value] => [
    name,
    values[range]?.[at] ?? values[range]?.[0] ?? null,
  ])
  const within: Record<string, (a: number, b: number) => boolean> = {
    gt: (a, b) => a > b,
    gte: (a, b) => a >= b,
    lt: (a, b) => a < b,
    lte: (a, b) => a <= b,
  }
  const items = rows.filter(
    (item) =>
      equal.every(([column, value]) => item[column] === value) &&
      limits.every(([name, value]) => item[range] !== null && within[name]?.(rank(range, item[range] ?? null), rank(range, value))),
  )
  const sign = direction === 'asc' ? 1 : -1
  items.sort((a, b) => {
    const column = physical.find((name) => a[name] !== b[name]) ?? ''
    return sign * (rank(column, a[column] ?? null) - rank(column, b[column] ?? null))
  })
  const ordered = rest.slice(0, Math.max(1, asked.ordered))
  return {
    options: {
      where: Object.fromEntries([...equal, ...(limits.length > 0 ? [[range, Object.fromEntries(limits)]] : [])]),
      orderBy: Object.fromEntries(ordered.map((column) => [column, direction])),
      limit: asked.limit,
    },
    items,
    complete: ordered.length === rest.length,
  }
}

/** What the property compares: the values of the index in order. Indexes that serve alike may order rows that tie differently. */
async function check(database: Database, stored: StoredTable, one: Case): Promise<void> {
  const { options, items, complete } = expected(stored, one)
  await database.query(`delete from ${stored.schema}.stored`)
  await database.query(
    `insert into ${stored.schema}.stored select * from jsonb_populate_recordset(null::${stored.schema}.stored, $1::text::jsonb)`,
    [JSON.stringify(one.rows)],
  )
  const reader = tableReader<Item, unknown>(database, { name: 'things', stored: () => stored, check: 'none' })
  const found: Item[] = []
  let after: string | null = null
  do {
    const page: { items: readonly Item[]; next: string | null } = await reader.find({ ...options, after })
    expect(page.next === null ? page.items.length <= one.limit : page.items.length === one.limit).toBe(true)
    found.push(...page.items)
    after = page.next
  } while (after !== null)
  const asked = Object.keys(options.orderBy ?? {})
  const shown = (item: Item) => asked.map((column) => item[column])
  expect(found.map(shown)).toEqual(items.map(shown))
  const keys = (list: readonly Item[]) => list.map((item) => stored.key.map((column) => item[column]).join(' '))
  expect(keys(found).toSorted()).toEqual(keys(items).toSorted())
  if (complete) expect(keys(found)).toEqual(keys(items))
}

for (const target of databases) {
  describe.skipIf(target.skip)(`paging on ${target.name}`, () => {
    let database: Database
    beforeAll(async () => {
      database = await target.open()
    })
    afterAll(() => database.close())

    test.each([[['id']], [['area', 'id']], [['id', 'area']]])('all pages together are the sorted whole, key %j', async (key) => {
      const stored = await storedTable(database, { columns, key, indexes })
      await fc.assert(
        fc.asyncProperty(cases(key), (one) => check(database, stored, one)),
        { numRuns: 100 },
      )
    })
  })
}
