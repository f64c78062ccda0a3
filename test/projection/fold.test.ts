import fc from 'fast-check'
import { aggregate, type Event, LogMismatchError, type Store, UnknownEventError } from 'headwater'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { memory } from '../../src/adapters/memory/memory.ts'
import { type Entry, foldEvent, foldingOf as folded, nothing, route } from '../../src/projection/fold.ts'
import { projection } from '../../src/projection/projection.ts'
import type { Projection } from '../../src/projection/projection-definition.ts'
import { WorkingSet } from '../../src/projection/working-set.ts'
import type { Checkpoint } from '../../src/read-model/store.ts'

const item = aggregate('item', {
  events: {
    Added: z.object({ to: z.array(z.string()), n: z.int() }),
    Removed: z.object({ to: z.array(z.string()) }),
    Ignored: z.object({}),
  },
  initialState: () => ({}),
  evolve: { Added: (state) => state, Removed: (state) => state, Ignored: (state) => state },
})

function event(position: number, type: string, data: unknown, more: Partial<Event> = {}): Event {
  return {
    id: `00000000-0000-4000-8000-${String(position).padStart(12, '0')}`,
    aggregate: 'item',
    stream: 's',
    version: position,
    position,
    time: '2026-01-01T00:00:00.000000Z',
    schemaVersion: 1,
    metadata: {},
    type,
    data,
    ...more,
  }
}

/** Sums by key, with a list; -1 fails, 0 leaves, and it deletes. Deliberately sensitive to what came before. */
const sums = projection('sums', {
  from: [item],
  row: z.object({ sum: z.int(), last: z.array(z.int()) }),
  key: ({ data, type }) => (type === 'Ignored' ? [] : (data as { to: string[] }).to),
  on: {
    Added: (row, { data }) => {
      if (data.n === -1) throw new Error('minus one')
      if (data.n === 0) return undefined
      return { sum: (row?.sum ?? 100) * 2 + data.n, last: [...(row?.last ?? []), data.n].slice(-3) }
    },
    Removed: () => null,
  },
  indexes: { bySum: ['sum'] },
})

const arbitrary = fc.array(
  fc.oneof(
    fc.record({
      type: fc.constant('Added'),
      data: fc.record({ to: fc.subarray(['a', 'b', 'c', 'd']), n: fc.integer({ min: -1, max: 3 }) }),
    }),
    fc.record({ type: fc.constant('Removed'), data: fc.record({ to: fc.subarray(['a', 'b', 'c']) }) }),
    fc.record({ type: fc.constant('Ignored'), data: fc.constant({}) }),
  ),
  { maxLength: 40 },
)

function foldingOf({ readModelName, '~projection': definition }: Pick<Projection, 'readModelName' | '~projection'>) {
  return folded(readModelName, definition)
}

/** One event at a time, by nothing but the definition's own words. */
function oneByOne(events: readonly Event[]): { rows: Record<string, unknown>; parked: Record<string, number> } {
  const rows: Record<string, unknown> = {}
  const parked: Record<string, number> = {}
  for (const { type, data, position } of events) {
    const { to = [], n = 0 } = data as { to?: string[]; n?: number }
    for (const key of to) {
      if (parked[key] !== undefined) continue
      const row = rows[key] as { sum: number; last: number[] } | undefined
      if (type === 'Removed') delete rows[key]
      else if (n === -1) parked[key] = position
      else if (n !== 0) rows[key] = { sum: (row?.sum ?? 100) * 2 + n, last: [...(row?.last ?? []), n].slice(-3) }
    }
  }
  return { rows, parked }
}

const folding = foldingOf(sums)
const model = { owner: 'o', name: 'sums', version: 1, indexes: folding.indexes }
const whole = { first: 0, last: 63 }

async function stored(store: Store) {
  const { rows } = await store.range(model, { index: undefined, from: '', to: '\u{10ffff}', reverse: false, limit: 1000 })
  const parked = (await store.parked?.(model)) ?? []
  return {
    rows: Object.fromEntries(rows.map(({ key, row }) => [key, JSON.parse(row) as unknown])),
    parked: Object.fromEntries(parked.map(({ key, position }) => [key, position])),
  }
}

function methods(store: Store): Store {
  return {
    description: store.description,
    load: store.load.bind(store),
    range: store.range.bind(store),
    apply: store.apply.bind(store),
    drop: store.drop.bind(store),
  }
}

describe('folding', () => {
  test('any batching, any crash, any size of the cache: the same rows as one event at a time', async () => {
    await fc.assert(
      fc.asyncProperty(
        arbitrary,
        fc.array(fc.record({ take: fc.integer({ min: 1, max: 9 }), flush: fc.boolean(), crash: fc.integer({ min: 0, max: 4 }) }), {
          minLength: 1,
          maxLength: 20,
        }),
        fc.integer({ min: 1, max: 8 }),
        fc.boolean(),
        async (happened, steps, cacheRows, split) => {
          const events = happened.map(({ type, data }, i) => event(i + 1, type, data))
          const store = memory()
          const ranges = split
            ? [
                { first: 0, last: 20 },
                { first: 21, last: 63 },
              ]
            : [whole]
          for (const partitions of ranges) {
            let from: Checkpoint | null = null
            // A batch may be written at once, while the rows of the next are loaded, or when the next is to be written.
            let underway: (() => Promise<void>) | undefined
            const settle = async () => {
              const write = underway
              underway = undefined
              await write?.()
            }
            const slow: Store = {
              ...methods(store),
              load: async (...call) => {
                const seen = await store.load(...call)
                await settle()
                return seen
              },
            }
            const begin = () =>
              new WorkingSet({
                folding,
                model,
                partitions,
                skipped: new Set(),
                checkpoint: from,
                mayHoldRows: false,
                cacheRows,
                now: Date.now,
              })
            let set = begin()
            const flush = async (late: boolean) => {
              await settle()
              const batch = set.take(from)
              underway = async () => {
                if ((await store.apply(model, batch)) !== 'applied') throw new Error('lost')
                set.written()
                from = batch.to
              }
              if (!late) await settle()
            }
            for (let i = 0; set.reached.position < events.length; i++) {
              const { take, flush: write, crash } = steps[i % steps.length] ?? { take: 1, flush: true, crash: 1 }
              await set.fold(events.slice(set.reached.position, set.reached.position + take), slow, settle)
              if (write || i > 60) await flush(crash % 2 === 1)
              if (crash === 0 && i < 60) {
                underway = undefined
                set = begin()
              }
            }
            await flush(false)
          }
          expect(await stored(store)).toEqual(oneByOne(events))
        },
      ),
      { numRuns: 300, seed: Number(process.env.SEED ?? 11) },
    )
  })

  test('a batch that is on its way is known to the next: its rows, and that it deleted some', async () => {
    const store = memory()
    const set = new WorkingSet({
      folding,
      model,
      partitions: whole,
      skipped: new Set(),
      checkpoint: null,
      mayHoldRows: false,
      cacheRows: 2,
      now: Date.now,
    })
    await set.fold([event(1, 'Added', { to: ['a', 'b'], n: 1 }), event(2, 'Removed', { to: ['b'] })], store, async () => undefined)
    const first = set.take(null)
    let written = false
    const settled = async () => {
      expect(await store.apply(model, first)).toBe('applied')
      set.written()
      written = true
    }
    await set.fold([event(3, 'Added', { to: ['a'], n: 1 })], store, settled)
    expect(written).toBe(false)
    await set.fold([event(4, 'Added', { to: ['b'], n: 3 })], store, settled)
    expect(written).toBe(true)
    expect(await store.apply(model, set.take(first.to))).toBe('applied')
    expect((await stored(store)).rows).toEqual({ a: { sum: 403, last: [1, 1] }, b: { sum: 203, last: [3] } })
  })

  test('everything else has its turns while slow handlers fold', async () => {
    let turns = 0
    let next = setImmediate(function turn() {
      turns++
      next = setImmediate(turn)
    })
    const seen = new Set<number>()
    const slow = projection('slow', {
      from: [item],
      row: z.object({ n: z.int() }),
      on: {
        Added: (row) => {
          seen.add(turns)
          for (const end = performance.now() + 2; performance.now() < end; );
          return { n: (row?.n ?? 0) + 1 }
        },
      },
    })
    const slowly = foldingOf(slow as never)
    const set = new WorkingSet({
      folding: slowly,
      model,
      partitions: whole,
      skipped: new Set(),
      checkpoint: null,
      mayHoldRows: false,
      cacheRows: 2,
      now: Date.now,
    })
    const events = Array.from({ length: 150 }, (_, i) => event(i + 1, 'Added', { to: [], n: 1 }))
    await set.fold(events, memory(), async () => undefined)
    clearImmediate(next)
    expect(seen.size).toBeGreaterThan(3)
    expect(set.take(null).rows).toMatchObject([{ key: 's', row: '{"n":150}' }])
  })

  test('what is folded already is passed over', () => {
    const at3: Entry = { row: { sum: 1, last: [] }, position: 3, version: null, parked: undefined }
    expect(foldEvent(folding, at3, 'a', event(3, 'Added', { to: ['a'], n: 1 }), 3)).toBe(at3)
    expect(foldEvent(folding, at3, 'a', event(4, 'Added', { to: ['a'], n: 1 }), 4).position).toBe(4)
  })
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
