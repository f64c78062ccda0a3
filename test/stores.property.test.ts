import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import type { Batch, Store, StoredModel } from 'headwater'
import { memory } from 'headwater/memory'
import { describe, test } from 'vitest'
import { change, freshModel } from './support/stored-model.ts'
import { stores } from './support/stores.ts'

/** One call: what it asks for does not depend on the store, only on what was agreed before. */
type Action =
  | {
      readonly kind: 'apply'
      readonly half: 0 | 1 | 2
      readonly from: 'right' | 'stale'
      readonly moves: readonly Move[]
      readonly park: readonly number[]
      readonly unpark: readonly number[]
    }
  | {
      readonly kind: 'range'
      readonly index: number | undefined
      readonly from: string
      readonly to: string
      readonly reverse: boolean
      readonly limit: number
    }
  | { readonly kind: 'drop' }

interface Move {
  readonly key: number
  readonly was: 'right' | 'any' | 'stale'
  readonly row: { readonly name: string; readonly n: number } | null
}

const keys = ['a', 'A', 'b\u0001', 'é', '\uff5e', '\u{1f600}', '$x', 'x.y', '{"k":1}', ' ']
const names = fc.constantFrom('', 'x', 'y', '\uff5e', '\u{10000}', 'x\u0001', 'x\u0002')
const key = fc.nat(keys.length - 1)

/** A store that is no single step leaves a part of a batch that loses by a row; there the reference cannot follow. */
const actions = (stale: boolean): fc.Arbitrary<readonly Action[]> => {
  const move = fc.record({
    key,
    was: stale
      ? fc.constantFrom('right' as const, 'right' as const, 'any' as const, 'stale' as const)
      : fc.constantFrom('right' as const, 'any' as const),
    row: fc.option(fc.record({ name: names, n: fc.integer({ min: -3, max: 3 }) }), { freq: 4 }),
  })
  const apply = fc.record({
    kind: fc.constant('apply' as const),
    half: fc.constantFrom(0 as const, 1 as const, 2 as const, 2 as const),
    from: fc.constantFrom('right' as const, 'right' as const, 'right' as const, 'stale' as const),
    moves: fc.uniqueArray(move, { maxLength: 5, selector: (each) => each.key }),
    park: fc.uniqueArray(key, { maxLength: 1 }),
    unpark: fc.uniqueArray(key, { maxLength: 2 }),
  })
  const text = fc.constantFrom('', '0', '4', '4x\u0001', '4y', 'a', 'é', '\u{10ffff}')
  const range = fc.record({
    kind: fc.constant('range' as const),
    index: fc.constantFrom(undefined, 0, 1),
    from: text,
    to: fc.oneof(text, fc.constant('\u{10ffff}')),
    reverse: fc.boolean(),
    limit: fc.integer({ min: 1, max: 12 }),
  })
  const drop = fc.record({ kind: fc.constant('drop' as const) })
  return fc.array(fc.oneof({ arbitrary: apply, weight: 6 }, { arbitrary: range, weight: 3 }, { arbitrary: drop, weight: 1 }), {
    maxLength: 25,
  })
}

const halves = [
  { first: 0, last: 31 },
  { first: 32, last: 63 },
  { first: 0, last: 63 },
] as const

/** The same batch for each store, but for the position of what one of them remembers of a deleted row. */
async function batchFor(store: Store, model: StoredModel, action: Action & { kind: 'apply' }, turn: number): Promise<Batch> {
  const partitions = halves[action.half]
  const runs = (await store.checkpoints?.(model)) ?? []
  const inside = runs.find(({ partitions: { first, last } }) => first <= partitions.first && last >= partitions.first)
  const right = inside?.checkpoint ?? null
  const stored = new Map((await store.load(model, keys)).rows.map((row) => [row.key, row]))
  const position = turn * 10 + 10
  const rows = action.moves.map(({ key: n, was, row }, i) => {
    const name = keys[n] ?? ''
    const now = stored.get(name)
    const stands = now?.position ?? 0
    const from = was === 'any' ? undefined : was === 'stale' && now?.row !== undefined ? stands - 1 : stands
    return change(model, name, from, position - 5 + i, row)
  })
  const park = action.park.map((n) => ({
    key: keys[n] ?? '',
    position: position - 1,
    eventId: n % 2 ? `e${turn}` : null,
    reason: `turn ${turn}`,
  }))
  return {
    partitions,
    from: action.from === 'right' ? right : { position: 1, eventId: 'stale' },
    to: { position, eventId: turn % 3 ? `e${turn}` : null },
    rows,
    park,
    unpark: action.unpark.map((n) => keys[n] ?? ''),
  }
}

/** What a reader sees, without what only some stores remember. */
async function view(store: Store, model: StoredModel): Promise<unknown> {
  const { checkpoint, rows, parked } = await store.load(model, keys)
  const seen = rows
    .filter(({ row, parked: reason }) => row !== undefined || reason)
    .map((row) => ({ ...row, row: row.row && JSON.parse(row.row), position: row.row ? row.position : 0, version: null }))
  return {
    checkpoint,
    parked,
    rows: seen.sort((a, b) => (a.key < b.key ? -1 : 1)),
    runs: await store.checkpoints?.(model),
    why: [...((await store.parked?.(model)) ?? [])].sort((a, b) => (a.key < b.key ? -1 : 1)),
  }
}

async function run(store: Store, model: StoredModel, action: Action, turn: number): Promise<unknown> {
  if (action.kind === 'drop') return store.drop(model)
  if (action.kind === 'apply') return store.apply(model, await batchFor(store, model, action, turn))
  const { rows } = await store.range(model, action)
  return rows.map((row) => ({ ...row, row: JSON.parse(row.row) }))
}

const indexes = [
  { name: 'byName', fields: ['name'] },
  { name: 'byNumber', fields: ['n', 'name'] },
]

for (const { name, skip, singleOwner, open } of stores.filter((target) => target.name !== 'memory')) {
  describe.skipIf(skip)(`${name} against the store in memory`, () => {
    test('answers the same to any calls', async () => {
      const store = await open()
      const reference = memory()
      // Lost by a row, a batch leaves a part of itself where there is no single step.
      const property = fc.asyncProperty(actions(name !== 'mongodb'), async (calls) => {
        const model = freshModel({ indexes })
        for (const [turn, action] of calls.entries()) {
          const [got, want] = [await run(store, model, action, turn), await run(reference, model, action, turn)]
          const [after, wanted] = [await view(store, model), await view(reference, model)]
          // jsonb has an order of its own for the members of a row.
          if (!isDeepStrictEqual([got, after], [want, wanted])) {
            throw new Error(`${JSON.stringify(action)}\ngot  ${JSON.stringify([got, after])}\nwant ${JSON.stringify([want, wanted])}`)
          }
        }
        await store.drop(model)
        await reference.drop(model)
      })
      try {
        await fc.assert(property, { seed: 20_260_801, numRuns: singleOwner ? 40 : 200 })
      } finally {
        await store.close?.()
      }
    })
  })
}
