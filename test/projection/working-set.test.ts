import fc from 'fast-check'
import type { Event, Store } from 'headwater'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { memory } from '../../src/adapters/memory/memory.ts'
import { projection } from '../../src/projection/projection.ts'
import { WorkingSet } from '../../src/projection/working-set.ts'
import type { Checkpoint } from '../../src/read-model/store.ts'
import { event, foldingOf, item, sums } from '../support/items.ts'

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

type Options = ConstructorParameters<typeof WorkingSet>[0]

function setFrom(checkpoint: Checkpoint | null, options: Partial<Options> = {}): WorkingSet {
  const defaults = { folding, model, partitions: whole, skipped: new Set<string>(), mayHoldRows: false, cacheRows: 2, now: Date.now }
  return new WorkingSet({ ...defaults, checkpoint, ...options })
}

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
          const begin = () => setFrom(from, { partitions, cacheRows })
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
  const set = setFrom(null)
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
  const set = setFrom(null, { folding: foldingOf(slow as never) })
  const events = Array.from({ length: 150 }, (_, i) => event(i + 1, 'Added', { to: [], n: 1 }))
  await set.fold(events, memory(), async () => undefined)
  clearImmediate(next)
  expect(seen.size).toBeGreaterThan(3)
  expect(set.take(null).rows).toMatchObject([{ key: 's', row: '{"n":150}' }])
})
