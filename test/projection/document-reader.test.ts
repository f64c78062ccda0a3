import { randomInt } from 'node:crypto'
import fc from 'fast-check'
import { BehindError, InvalidInputError, NoIndexError, NotReadyError, ParkedError, type Reader, UsageError } from 'headwater'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { memory } from '../../src/adapters/memory/memory.ts'
import { databaseStore } from '../../src/read-model/database-store.ts'
import { documentReader } from '../../src/read-model/document-reader.ts'
import { compareText, indexText, orderText } from '../../src/read-model/order-text.ts'
import type { Store, StoredModel } from '../../src/read-model/store.ts'
import { databases, freshSchema } from '../support/databases.ts'

interface Book {
  readonly [member: string]: unknown
  readonly author: string | null
  readonly year: number | null
}

const indexes = [
  { name: 'byAuthor', fields: ['author', 'year'] },
  { name: 'byYear', fields: ['year'] },
]

async function write(
  store: Store,
  model: StoredModel,
  rows: Readonly<Record<string, Book>>,
  parked: readonly string[] = [],
): Promise<void> {
  const position = Object.keys(rows).length + 10
  await store.apply(model, {
    partitions: { first: 0, last: 63 },
    from: null,
    to: { position, eventId: null },
    rows: Object.entries(rows).map(([key, row], i) => ({
      key,
      was: 0,
      position: i + 1,
      version: null,
      row: JSON.stringify(row),
      index: indexes.map(({ fields }) => indexText(fields, row, key)),
    })),
    park: parked.map((key) => ({ key, position, eventId: null, reason: 'broken' })),
    unpark: [],
  })
}

const stores: readonly { name: string; skip: string | false; open(): Promise<Store> }[] = [
  { name: 'memory', skip: false, open: async () => memory() },
  ...databases.map((target) => ({
    name: target.name,
    skip: target.skip,
    open: async () => databaseStore(await target.open(), freshSchema('books'), { home: false }),
  })),
]

for (const { name, skip, open } of stores) {
  describe.skipIf(skip)(`reading documents from ${name}`, () => {
    let store: Store
    let model: StoredModel
    let reader: Reader<Book, unknown, string>

    beforeAll(async () => {
      store = await open()
    })

    beforeEach(() => {
      model = { owner: 'test', name: `books_${randomInt(1e9)}`, version: 1, indexes }
      reader = documentReader<Book, unknown>(store, model, { check: 'none' })
    })

    test('keys, also composite ones, and what is not there', async () => {
      await write(store, model, { a: { author: 'x', year: 1 }, '{"month":"m","who":7}': { author: 'y', year: 2 } })
      expect(await reader.get('a')).toEqual({ author: 'x', year: 1 })
      expect(await reader.get({ who: 7, month: 'm' })).toEqual({ author: 'y', year: 2 })
      expect(await reader.get('b')).toBeUndefined()
      expect(await reader.getMany(['b', { month: 'm', who: 7 }, 'a', 'a'])).toEqual([
        { author: 'y', year: 2 },
        { author: 'x', year: 1 },
        { author: 'x', year: 1 },
      ])
      await expect(reader.get(undefined)).rejects.toBeInstanceOf(UsageError)
      await expect(reader.get('')).rejects.toBeInstanceOf(UsageError)
    })

    test('keys of the last characters that there are come last, and are not left out', async () => {
      const last = '\u{10ffff}'
      await write(store, model, {
        [last]: { author: 'x', year: 1 },
        [last.repeat(256)]: { author: 'y', year: 2 },
        a: { author: 'z', year: 3 },
      })
      expect((await reader.find({})).items.map(({ author }) => author)).toEqual(['z', 'x', 'y'])
    })

    test('a version that is not in the store, and one that is behind', async () => {
      await expect(reader.get('a')).rejects.toMatchObject({ code: 'building' })
      await expect(reader.find({})).rejects.toBeInstanceOf(NotReadyError)
      await write(store, model, { a: { author: 'x', year: 1 } })
      const ahead = documentReader<Book, unknown>(store, model, { check: 'none', atLeast: 12 })
      await expect(ahead.get('a')).rejects.toBeInstanceOf(BehindError)
      await expect(ahead.find({})).rejects.toBeInstanceOf(BehindError)
      const there = documentReader<Book, unknown>(store, model, { check: 'none', atLeast: 11 })
      expect(await there.get('a')).toEqual({ author: 'x', year: 1 })
    })

    test('parked keys: served when anything will do, an error under a demand, counted in pages', async () => {
      await write(store, model, { a: { author: 'x', year: 1 }, b: { author: 'x', year: 2 } }, ['a', 'c'])
      expect(await reader.get('a')).toEqual({ author: 'x', year: 1 })
      const strict = documentReader<Book, unknown>(store, model, { check: 'strict' })
      await expect(strict.get('a')).rejects.toBeInstanceOf(ParkedError)
      await expect(strict.getMany(['b', 'c'])).rejects.toBeInstanceOf(ParkedError)
      expect(await strict.get('b')).toEqual({ author: 'x', year: 2 })
      expect(await strict.find({})).toMatchObject({ parked: 2 })
    })

    test('what no index serves, and cursors of something else', async () => {
      await write(store, model, { a: { author: 'x', year: 1 }, b: { author: 'x', year: 2 }, c: { author: 'y', year: 3 } })
      await expect(reader.find({ orderBy: { author: 'asc', year: 'desc' } })).rejects.toBeInstanceOf(NoIndexError)
      await expect(reader.find({ where: { year: { gt: 1 }, author: { lt: 'x' } } })).rejects.toBeInstanceOf(NoIndexError)
      await expect(reader.find({ orderBy: { year: 'asc', author: 'asc' } })).rejects.toThrow(
        /declared: byAuthor \(author, year\); byYear \(year\)/,
      )
      await expect(reader.find({ where: { titel: 'x' } })).rejects.toBeInstanceOf(UsageError)
      await expect(reader.find({ limit: 1001 })).rejects.toBeInstanceOf(InvalidInputError)
      const { next } = await reader.find({ where: { author: 'x' }, limit: 1 })
      await expect(reader.find({ where: { author: 'y' }, limit: 1, after: next })).rejects.toBeInstanceOf(InvalidInputError)
      await expect(reader.find({ where: { author: 'x' }, after: 'rubbish' })).rejects.toBeInstanceOf(InvalidInputError)
      const forged = Buffer.from(JSON.stringify([JSON.parse(Buffer.from(next ?? '', 'base64url').toString())[0], ''])).toString('base64url')
      for (const { author } of (await reader.find({ where: { author: 'x' }, after: forged })).items) expect(author).toBe('x')
    })

    test('find is what filtering and sorting in memory is, page by page', async () => {
      const words = [null, '', 'a', 'ab', 'b', 'B', 'é', '\u{1f600}', '\uff5e']
      const rows: Record<string, Book> = {}
      for (let i = 0; i < 120; i++) rows[`k${i}`] = { author: words[i % 9] ?? null, year: i % 11 === 0 ? null : (i * 7) % 13 }
      await write(store, model, rows)
      const all = Object.entries(rows)
      await fc.assert(
        fc.asyncProperty(
          fc.record(
            {
              author: fc.constantFrom(...words),
              range: fc.record({ gt: fc.integer({ min: -1, max: 14 }), lte: fc.integer({ min: -1, max: 14 }) }, { requiredKeys: [] }),
              desc: fc.boolean(),
              limit: fc.integer({ min: 1, max: 50 }),
            },
            { requiredKeys: ['desc', 'limit'] },
          ),
          async ({ author, range = {}, desc, limit }) => {
            const ranged = range.gt !== undefined || range.lte !== undefined
            const wanted = all
              .filter(([, row]) => author === undefined || row.author === author)
              .filter(([, { year }]) => !ranged || (year !== null && year > (range.gt ?? -99) && year <= (range.lte ?? 99)))
              .map(([key, row]) => ({ row, at: indexText(['year'], row, key) }))
              .sort((a, b) => compareText(a.at, b.at))
              .map(({ row }) => row)
            const found: Book[] = []
            let after: string | null = null
            do {
              const page: { items: readonly Book[]; next: string | null } = await reader.find({
                where: { ...(author === undefined ? {} : { author }), ...(ranged ? { year: range } : {}) },
                orderBy: { year: desc ? 'desc' : 'asc' },
                limit,
                after,
              })
              found.push(...page.items)
              after = page.next
            } while (after !== null)
            expect(found).toEqual(desc ? wanted.toReversed() : wanted)
          },
        ),
        { numRuns: 40, seed: 7 },
      )
    })
  })
}

test('a text does not end where a longer one begins', () => {
  expect(compareText(`${orderText('a')}6`, orderText('ab'))).toBeLessThan(0)
})
