import assert from 'node:assert/strict'
import { compareText, indexText, orderText } from '../index.ts'
import {
  applied,
  batch,
  change,
  end,
  type Fields,
  keysInOrder,
  listed,
  rowsOf,
  type StoreCheck,
  type StoreSubject,
} from './store-contract-case.ts'

/** Values in the order that every store gives them. */
const ascending: readonly unknown[] = [
  ...[null, false, true],
  ...[-1e300, -12, -11.5, -1, -5e-324, 0, 5e-324, 0.5, 1, 2, 10, 9007199254740991, 1e300],
  ...['', ' ', '"', '%', '*', '-', '10', '9', 'A', 'B', '[', '\\', '_', 'a', 'a b', 'ab', 'b', '{', '}', '~'],
  ...['é', 'ﬀ', '\uff5e', '\u{10000}', '\u{1f600}', '\u{10fffd}'],
]

async function writeAll(
  { store, model }: StoreSubject,
  rows: Readonly<Record<string, Fields>> | Iterable<readonly [string, Fields]>,
): Promise<void> {
  const entries = Symbol.iterator in rows ? [...rows] : Object.entries(rows)
  const changes = entries.map(([key, fields], i) => change(model, key, 0, i + 1, fields))
  await applied(store, model, batch(null, changes.length, changes))
}

/** Keys that a store might mistake for something of its own. */
const oddKeys = [
  ...[' ', '!', '"', '$set', '%', "'", '*', '-1', '.', '..', '0', '10', '2', ':', '[1,"a"]', '\\', '\n', '\u0001', '\u0002', '\u007f'],
  ...['A', '__proto__x', 'a', 'a\u0001', 'a.b', 'a:1', 'aa', 'é', '{"a":1,"b":"x"}', '{}', '\uff5e', '\u{1f600}', 'k'.repeat(500)],
]

/** What is in order, and the parts of it. */
export const orderChecks: Readonly<Record<string, StoreCheck>> = {
  'orders null, booleans, numbers and texts the same as every store, ties by key': async (subject) => {
    const shuffled = ascending.map((group, i) => [i, group] as const).sort(([i], [j]) => ((i * 17) % 43) - ((j * 17) % 43) || i - j)
    const rows = shuffled.flatMap(([i, group]) => ['\u{10000}', '\uff5e', 'z'].map((tie) => [`${tie}${i}`, { group, size: i }] as const))
    await writeAll(subject, Object.fromEntries(rows))
    const want = ascending.flatMap((_, i) => [`z${i}`, `\uff5e${i}`, `\u{10000}${i}`])
    assert.deepEqual(await keysInOrder(subject.store, subject.model, { index: 0 }), want)
    assert.deepEqual(await keysInOrder(subject.store, subject.model, { index: 0, reverse: true }), want.toReversed())
    assert.deepEqual(await keysInOrder(subject.store, subject.model, { index: 1 }), want)
  },

  'orders keys by code point, whatever is in them': async (subject) => {
    const { store, model } = subject
    await writeAll(
      subject,
      oddKeys.map((key, i) => [key, { group: key, size: i }] as const),
    )
    const want = oddKeys.toSorted(compareText)
    const rows = await listed(store, model)
    assert.deepEqual(
      rows.map(({ key }) => key),
      want,
    )
    for (const { key, at } of rows) assert.equal(at, key)
    assert.deepEqual(await keysInOrder(store, model, { reverse: true }), want.toReversed())
    assert.deepEqual(
      await keysInOrder(store, model, { index: 0 }),
      oddKeys.toSorted((x, y) => compareText(textOf(x), textOf(y))),
    )
    assert.deepEqual(
      await rowsOf(store, model, oddKeys),
      oddKeys.map((key, i) => ({ group: key, size: i })),
    )
    const deletes = oddKeys.map((key, i) => change(model, key, i + 1, 100 + i, null))
    await applied(store, model, batch(oddKeys.length, 200, deletes))
    assert.deepEqual(await listed(store, model), [])
  },

  'begins with the text given and ends before the other one, at most so many': async (subject) => {
    const { store, model } = subject
    await writeAll(subject, {
      a: { group: 'x', size: 1 },
      b: { group: 'y', size: 2 },
      c: { group: 'y', size: 3 },
      d: { group: 'z', size: 4 },
    })
    const all = (await listed(store, model, { index: 0 })).map(({ at }) => at)
    assert.deepEqual(
      all,
      ['a', 'b', 'c', 'd'].map((key, i) => indexText(['group'], { group: ['x', 'y', 'y', 'z'][i] }, key)),
    )
    const [, from = '', , to = ''] = all
    assert.deepEqual(await keysInOrder(store, model, { index: 0, from, to }), ['b', 'c'])
    assert.deepEqual(await keysInOrder(store, model, { index: 0, from, to, reverse: true }), ['c', 'b'])
    assert.deepEqual(await keysInOrder(store, model, { index: 0, from, limit: 1 }), ['b'])
    assert.deepEqual(await keysInOrder(store, model, { index: 0, to, reverse: true, limit: 1 }), ['c'])
    assert.deepEqual(await keysInOrder(store, model, { index: 0, from: orderText('y'), to: `${orderText('y')}6` }), ['b', 'c'])
    assert.deepEqual(await keysInOrder(store, model, { index: 0, from: to, to: from }), [])
    assert.deepEqual(await keysInOrder(store, model, { from: 'b', to: 'd' }), ['b', 'c'])
    assert.deepEqual(await keysInOrder(store, model, { from: 'aa', to: 'c', reverse: true }), ['b'])
  },

  'pages from where the last row stood, in both directions, without loss or repetition': async (subject) => {
    const { store, model } = subject
    const keys = Array.from({ length: 61 }, (_, i) => `k${i}`)
    await writeAll(subject, Object.fromEntries(keys.map((key, i) => [key, { group: i % 7 === 0 ? null : `g${i % 3}`, size: i % 5 }])))
    for (const index of [undefined, 0, 1]) {
      const want = await keysInOrder(store, model, { index })
      assert.deepEqual(want.toSorted(), keys.toSorted())
      const forward: string[] = []
      for (let from = ''; forward.length < keys.length; ) {
        const page = await listed(store, model, { index, from, limit: 7 })
        assert.ok(page.length <= 7)
        forward.push(...page.map(({ key }) => key))
        // No text of an index begins with another; of keys this one is the next that may be.
        from = `${page.at(-1)?.at}\u0001`
        if (page.length === 0) break
      }
      assert.deepEqual(forward, want)
      const backward: string[] = []
      for (let to = end; backward.length < keys.length; ) {
        const page = await listed(store, model, { index, to, limit: 7, reverse: true })
        backward.push(...page.map(({ key }) => key))
        to = page.at(-1)?.at ?? ''
        if (page.length === 0) break
      }
      assert.deepEqual(backward, want.toReversed())
    }
  },

  'moves a row in one index and leaves it where it is in the other': async (subject) => {
    const { store, model } = subject
    await writeAll(subject, { a: { group: 'x', size: 1 }, b: { group: 'y', size: 2 }, c: { group: 'z', size: 3 } })
    await applied(
      store,
      model,
      batch(3, 5, [change(model, 'a', 1, 4, { group: 'zz', size: 1 }), change(model, 'b', 2, 5, { group: 'y', size: 2, more: 1 })]),
    )
    assert.deepEqual(await keysInOrder(store, model, { index: 0 }), ['b', 'c', 'a'])
    assert.deepEqual(await keysInOrder(store, model, { index: 1 }), ['a', 'b', 'c'])
    assert.deepEqual(await keysInOrder(store, model), ['a', 'b', 'c'])
  },

  'serves a model without indexes, and the same after its indexes are made': async (subject) => {
    const bare = subject.other({ indexes: [] })
    await applied(subject.store, bare, batch(null, 2, [change(bare, 'b', 0, 1, {}), change(bare, 'a', 0, 2, {})]))
    await writeAll(subject, { a: { group: 'x', size: 1 }, b: { group: 'w', size: 2 } })
    for (const model of [bare, subject.model]) {
      for (let time = 0; time < 2; time++) await subject.store.index?.(model)
      assert.deepEqual(await keysInOrder(subject.store, model), ['a', 'b'])
    }
    assert.deepEqual(await keysInOrder(subject.store, subject.model, { index: 0 }), ['b', 'a'])
    await applied(subject.store, subject.model, batch(2, 3, [change(subject.model, 'a', 1, 3, { group: 'v', size: 1 })]))
    assert.deepEqual(await keysInOrder(subject.store, subject.model, { index: 0 }), ['a', 'b'])
  },
}

/** A batch as large as they come. */
export const largeChecks = (count: number): Readonly<Record<string, StoreCheck>> => ({
  'takes large batches': async ({ store, model }) => {
    const keys = Array.from({ length: count }, (_, i) => `row ${i}`)
    const text = 'x'.repeat(200)
    const rows = keys.map((key, i) => change(model, key, 0, i + 1, { group: `g${i % 10}`, size: i, text }))
    await applied(store, model, batch(null, count, rows))
    assert.equal((await store.load(model, keys)).rows.length, count)
    const size = await store.size?.(model)
    if (size) assert.ok(size.rows === count && size.bytes > 200 * count, JSON.stringify(size))
    const changes = keys.map((key, i) => change(model, key, i + 1, count + i + 1, i % 2 ? null : { group: 'h', size: -i }))
    await applied(store, model, batch(count, 2 * count, changes))
    const left = await keysInOrder(store, model, { index: 1 })
    assert.equal(left.length, count / 2)
    assert.equal(left[0], `row ${count - 2}`)
    assert.equal(await store.apply(model, batch(count, 2 * count, changes)), 'lost')
  },
})

function textOf(group: string): string {
  return indexText(['group'], { group }, group)
}
