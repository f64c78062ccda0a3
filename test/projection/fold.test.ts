import { type Event, LogMismatchError, UnknownEventError } from 'headwater'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type Entry, foldEvent, nothing, route } from '../../src/projection/fold.ts'
import { projection } from '../../src/projection/projection.ts'
import { event, foldingOf, item, sums } from '../support/items.ts'

test('what is folded already is passed over', () => {
  const at3: Entry = { row: { sum: 1, last: [] }, position: 3, version: null, parked: undefined }
  expect(foldEvent(foldingOf(sums), at3, 'a', event(3, 'Added', { to: ['a'], n: 1 }), 3)).toBe(at3)
  expect(foldEvent(foldingOf(sums), at3, 'a', event(4, 'Added', { to: ['a'], n: 1 }), 4).position).toBe(4)
})

describe('what handlers must not do', () => {
  const bad = (give: (row: { n: number; deep: { m: number } }) => unknown) =>
    foldingOf(
      projection('bad', {
        from: [item],
        row: z.object({ n: z.number(), deep: z.unknown() }),
        on: { Added: give as never },
      }),
    )
  const row = Object.freeze({ n: 1, deep: Object.freeze({ m: 1 }) })
  const entry: Entry = { row, position: 1, version: 1, parked: undefined }
  const parkedBy = (give: (row: { n: number; deep: { m: number } }) => unknown) =>
    foldEvent(bad(give), entry, 's', event(2, 'Added', { to: [], n: 1 }), 2)

  for (const [what, give, reason] of [
    ['a promise', async () => ({ n: 1, deep: null }), /promise/],
    ['a Date', () => ({ n: 1, deep: new Date() }), /at deep is a Date/],
    ['a Map within a list', () => ({ n: 1, deep: [{ a: new Map() }] }), /at deep\.0\.a is a Map/],
    ['undefined', () => ({ n: 1, deep: undefined }), /at deep is undefined/],
    ['NaN', () => ({ n: Number.NaN, deep: null }), /at n is NaN/],
    ['-0', () => ({ n: -0, deep: null }), /at n is -0/],
    ['Infinity', () => ({ n: 1, deep: { a: Number.POSITIVE_INFINITY } }), /at deep\.a is Infinity/],
    ['a function', () => ({ n: 1, deep: () => 1 }), /at deep is a function/],
    ['a bigint', () => ({ n: 1, deep: 1n }), /JSON cannot hold/],
    ['U+0000', () => ({ n: 1, deep: 'a\u0000' }), /U\+0000/],
    ['half a surrogate pair', () => ({ n: 1, deep: '\ud800' }), /surrogate/],
    ['a key that changes prototypes', () => ({ n: 1, deep: JSON.parse('{"__proto__":1}') }), /not allowed/],
    ['an array', () => [], /a row is a plain object/],
    ['a number', () => 3, /a row is a plain object/],
    ['a class', () => new (class Row {})(), /a row is a plain object/],
    ['what its schema refuses', () => ({ n: 'one', deep: null }), /does not match its schema at n/],
    [
      'a changed row',
      (given: { n: number }) => {
        given.n = 2
        return given
      },
      /changed what it was given/,
    ],
    [
      'a row changed deep within',
      (given: { deep: { m: number } }) => {
        given.deep.m = 2
        return given
      },
      /changed what it was given/,
    ],
  ] as const) {
    test(`${what}: its key is parked, with its last good row`, () => {
      const after = parkedBy(give as never)
      expect(after.row).toBe(row)
      expect(after.position).toBe(1)
      expect(after.parked).toMatchObject({ position: 2, reason: expect.stringMatching(reason) })
      expect(
        foldEvent(
          bad(() => ({ n: 5, deep: null })),
          after,
          's',
          event(3, 'Added', {}),
          3,
        ),
      ).toBe(after)
    })
  }

  test('rows and events are frozen, all the way down', () => {
    const seen = foldingOf(
      projection('frozen', {
        from: [item],
        row: z.object({ deep: z.object({ list: z.array(z.int()) }) }),
        on: { Added: (_row, { data }) => ({ deep: { list: [data.n] } }) },
      }),
    )
    const routed = route(seen, event(1, 'Added', { to: ['x'], n: 1 }))
    expect(Object.isFrozen((routed?.event.data as { to: string[] } | undefined)?.to ?? [])).toBe(true)
    const { row: made } = foldEvent(seen, nothing, 's', event(1, 'Added', { to: [], n: 1 }), 1)
    expect(Object.isFrozen((made as { deep: { list: number[] } }).deep.list)).toBe(true)
  })

  test('an index over more than an index can hold parks the key', () => {
    const long = foldingOf(
      projection('long', {
        from: [item],
        row: z.object({ text: z.string() }),
        on: { Added: () => ({ text: 'é'.repeat(1100) }) },
        indexes: { byText: ['text'] },
      }),
    )
    expect(foldEvent(long, nothing, 's', event(1, 'Added', {}), 1).parked?.reason).toMatch(/index byText .* longer than 2048 bytes/)
  })
})

describe('what stops a read model', () => {
  const keyed = (key: (event: Event) => unknown) =>
    foldingOf(projection('keyed', { from: [item], row: z.object({ n: z.int() }), key: key as never, on: { Added: () => ({ n: 1 }) } }))

  for (const [what, key] of [
    [
      'throws',
      () => {
        throw new Error('no key')
      },
    ],
    ['gives nothing', () => undefined],
    ['gives an empty text', () => ''],
    ['gives a list with an empty text', () => ['a', '']],
    ['gives an empty object', () => ({})],
    ['gives an object with null', () => ({ a: null })],
    ['gives a number', () => 7],
    ['gives a text that is too long', () => 'x'.repeat(1025)],
    ['gives U+0000', () => 'a\u0000'],
  ] as const) {
    test(`a key function that ${what}`, () => {
      expect(() => route(keyed(key), event(5, 'Added', { to: [], n: 1 }))).toThrow(/the key of Added at position 5 could not be told/)
    })
  }

  test('an event of a type or schema version that is not known, among those of its aggregates alone', () => {
    const one = keyed(() => 'k')
    expect(() => route(one, event(5, 'Renamed', {}))).toThrow(UnknownEventError)
    expect(() => route(one, event(5, 'Added', {}, { schemaVersion: 2 }))).toThrow(UnknownEventError)
    expect(route(one, event(5, 'Renamed', {}, { aggregate: 'other' }))).toBeUndefined()
    expect(route(one, event(5, 'Ignored', {}))).toBeUndefined()
  })

  test('versions that are not consecutive, where the key is the stream and all its events are handled', () => {
    const counted = (on: object) => foldingOf(projection('counted', { from: [item], row: z.object({ n: z.int() }), on: on as never }))
    const all = counted({ Added: () => ({ n: 1 }), Removed: () => undefined, Ignored: () => undefined })
    const some = counted({ Added: () => ({ n: 1 }), Removed: () => undefined })
    const first = foldEvent(all, nothing, 's', event(10, 'Added', {}, { version: 1 }), 10)
    const left = foldEvent(all, first, 's', event(11, 'Ignored', {}, { version: 2 }), 11)
    expect(left).toMatchObject({ version: 2, position: 11 })
    expect(foldEvent(all, left, 's', event(12, 'Added', {}, { version: 3 }), 12).version).toBe(3)
    for (const version of [2, 4]) {
      expect(() => foldEvent(all, left, 's', event(12, 'Added', {}, { version }), 12)).toThrow(LogMismatchError)
    }
    const gone = foldEvent(
      counted({ Added: () => null, Removed: () => undefined, Ignored: () => undefined }),
      left,
      's',
      event(12, 'Added', {}, { version: 3 }),
      12,
    )
    expect(gone).toMatchObject({ row: undefined, version: null })
    expect(
      foldEvent(
        all,
        foldEvent(all, gone, 's', event(13, 'Ignored', {}, { version: 4 }), 13),
        's',
        event(14, 'Added', {}, { version: 5 }),
        14,
      ).version,
    ).toBe(5)
    const gap = foldEvent(some, nothing, 's', event(10, 'Added', {}, { version: 1 }), 10)
    expect(foldEvent(some, gap, 's', event(12, 'Added', {}, { version: 3 }), 12).version).toBe(3)
  })

  test('a sync projection sees neither position nor time', () => {
    const reading = (read: (event: Event) => unknown) =>
      foldingOf(
        projection('reading', {
          from: [item],
          row: z.object({ seen: z.unknown() }),
          on: { Added: ((_row: unknown, one: Event) => ({ seen: read(one) })) as never },
          update: 'sync',
        }),
      )
    const made = (read: (event: Event) => unknown) => {
      const one = reading(read)
      const routed = route(one, event(5, 'Added', { to: [], n: 1 }))
      return routed && foldEvent(one, nothing, 's', routed.event, routed.position)
    }
    expect(made(({ position }) => position)?.parked?.reason).toMatch(/cannot read an event's position/)
    expect(made(({ time }) => time)?.parked?.reason).toMatch(/cannot read an event's time/)
    expect(made(({ stream }) => stream)).toMatchObject({ row: { seen: 's' }, position: 5 })
  })
})
