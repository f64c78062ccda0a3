import assert from 'node:assert/strict'
import { rejects } from './contract-case.ts'
import {
  applied,
  at,
  batch,
  change,
  checkpointOf,
  type Fields,
  keysInOrder,
  listed,
  loaded,
  positionOf,
  rowsOf,
  type StoreCheck,
} from './store-contract-case.ts'

const a = { group: 'a', size: 1 }
const b = { group: 'b', size: 2 }

/** Rows and checkpoint written as one, and the guards that make a batch count once. */
export const batchChecks: Readonly<Record<string, StoreCheck>> = {
  'knows no checkpoint of a version that was never built: null, not empty': async ({ store, model }) => {
    assert.deepEqual(await store.load(model, ['x']), { checkpoint: null, rows: [], parked: 0 })
    assert.deepEqual(await store.range(model, { index: 0, from: '', to: '6', reverse: false, limit: 10 }), {
      checkpoint: null,
      rows: [],
      parked: 0,
    })
    await applied(store, model, batch(null, 0, []))
    assert.deepEqual(await checkpointOf(store, model), at(0))
  },

  'gives back rows as they were written, with position and version': async ({ store, model }) => {
    const fields: Fields = {
      group: 'é\u{1f600}"\\\n',
      size: -1.5e21,
      list: [{}, 1, null, true, { a: [1, 2] }],
      nothing: [],
      deep: { a: { b: '' } },
      none: null,
    }
    const changes = [{ ...change(model, 'x', 0, 7, fields), version: 3 }, change(model, 'y', undefined, 8, {})]
    await applied(store, model, batch(null, 9, changes))
    const rows = await loaded(store, model, ['nobody', 'y', 'x'])
    assert.deepEqual(rows.get('x'), { key: 'x', row: fields, position: 7, version: 3, parked: undefined })
    assert.deepEqual(rows.get('y'), { key: 'y', row: {}, position: 8, version: null, parked: undefined })
    assert.equal(rows.size, 2)
    const [first] = await listed(store, model)
    assert.deepEqual({ ...first, row: JSON.parse(first?.row ?? '') }, { key: 'x', row: fields, position: 7, at: 'x' })
    assert.deepEqual(await checkpointOf(store, model), at(9))
  },

  'keeps positions that need all 53 bits': async ({ store, model }) => {
    const high = Number.MAX_SAFE_INTEGER
    await applied(store, model, batch(null, high - 3, [change(model, 'x', 0, high - 4, a)]))
    assert.equal(await store.apply(model, batch(high - 4, high, [change(model, 'x', high - 4, high, b)])), 'lost')
    assert.equal(await store.apply(model, batch(high - 3, high, [change(model, 'x', high - 5, high, b)])), 'lost')
    await applied(store, model, batch(high - 3, high - 1, [change(model, 'x', high - 4, high - 2, b)]))
    assert.equal(await positionOf(store, model, 'x'), high - 2)
    assert.deepEqual(await checkpointOf(store, model), at(high - 1))
  },

  'replaces and deletes rows, and what the indexes say of them': async ({ store, model }) => {
    await applied(store, model, batch(null, 2, [change(model, 'x', 0, 1, a), change(model, 'y', 0, 2, b)]))
    await applied(store, model, batch(2, 4, [change(model, 'x', 1, 3, { group: 'c', size: 0 }), change(model, 'y', 2, 4, null)]))
    assert.deepEqual(await rowsOf(store, model, ['x', 'y']), [{ group: 'c', size: 0 }, undefined])
    for (const index of [undefined, 0, 1]) assert.deepEqual(await keysInOrder(store, model, { index }), ['x'])
    await applied(store, model, batch(4, 6, [change(model, 'y', await positionOf(store, model, 'y'), 5, a)]))
    assert.deepEqual(await keysInOrder(store, model, { index: 0 }), ['y', 'x'])
    assert.deepEqual(await keysInOrder(store, model, { index: 1 }), ['x', 'y'])
  },

  'loses a batch whose checkpoint is not the one it began at, and writes nothing of it': async ({ store, model }) => {
    const late = (from: number | null, more = {}) =>
      batch(from, 9, [change(model, 'x', undefined, 9, b), change(model, 'n', 0, 9, b)], more)
    assert.equal(await store.apply(model, late(3)), 'lost')
    assert.equal(await checkpointOf(store, model), null)
    await applied(store, model, batch(null, 3, [change(model, 'x', 0, 3, a)]))
    for (const from of [null, 0, 2]) assert.equal(await store.apply(model, late(from)), 'lost', `from ${from}`)
    for (const eventId of [null, 'event-4', '']) {
      assert.equal(await store.apply(model, late(3, { from: { position: 3, eventId } })), 'lost', `over ${eventId}`)
    }
    assert.equal(await store.apply(model, { ...late(3, { from: at(2) }), unpark: ['x'] }), 'lost')
    assert.deepEqual(await rowsOf(store, model, ['x', 'n']), [a, undefined])
    assert.deepEqual(await keysInOrder(store, model, { index: 0 }), ['x'])
    assert.deepEqual(await checkpointOf(store, model), at(3))
    await applied(store, model, late(3))
  },

  'tells a checkpoint over no event from one over an event without a name': async ({ store, model }) => {
    await applied(store, model, batch(null, 3, [], { to: { position: 3, eventId: null } }))
    assert.deepEqual(await checkpointOf(store, model), { position: 3, eventId: null })
    assert.equal(await store.apply(model, batch(3, 4, [], { from: { position: 3, eventId: '' } })), 'lost')
    await applied(store, model, batch(3, 4, [], { from: { position: 3, eventId: null }, to: { position: 4, eventId: 'null' } }))
    assert.deepEqual(await checkpointOf(store, model), { position: 4, eventId: 'null' })
    assert.equal(await store.apply(model, batch(4, 5, [], { from: { position: 4, eventId: null } })), 'lost')
  },

  'loses a batch with a row that has moved on, but not as far as the batch': async ({ store, model }) => {
    await applied(store, model, batch(null, 5, [change(model, 'x', 0, 5, a)]))
    assert.equal(await store.apply(model, batch(5, 9, [change(model, 'x', 3, 9, b)])), 'lost')
    assert.equal(await store.apply(model, batch(5, 9, [change(model, 'x', 0, 9, b)])), 'lost')
    assert.equal(await store.apply(model, batch(5, 9, [change(model, 'gone', 4, 9, b)])), 'lost')
    assert.deepEqual(await rowsOf(store, model, ['x', 'gone']), [a, undefined])
    assert.deepEqual(await checkpointOf(store, model), at(5))
  },

  'leaves a row that is already as new, and counts the batch': async ({ store, model }) => {
    await applied(store, model, batch(null, 5, [change(model, 'x', 0, 5, a), change(model, 'y', 0, 5, a)]))
    await applied(store, model, batch(5, 6, [change(model, 'x', 3, 5, b), change(model, 'y', 3, 4, b)]))
    assert.deepEqual(await rowsOf(store, model, ['x', 'y']), [a, a])
    assert.equal(await positionOf(store, model, 'y'), 5)
    assert.deepEqual(await checkpointOf(store, model), at(6))
  },

  'writes over any older row where the batch does not say what it was, never over a newer one': async ({ store, model }) => {
    await applied(store, model, batch(null, 5, [change(model, 'x', undefined, 3, a), change(model, 'y', undefined, 5, a)]))
    const second = ['x', 'y', 'z'].map((key) => change(model, key, undefined, key === 'y' ? 4 : 6, b))
    await applied(store, model, batch(5, 6, second))
    await applied(store, model, batch(6, 7, [change(model, 'x', undefined, 6, a), change(model, 'y', undefined, 5, null)]))
    assert.deepEqual(await rowsOf(store, model, ['x', 'y', 'z']), [b, a, b])
  },

  'changes nothing when a batch comes again': async ({ store, model }) => {
    await applied(store, model, batch(null, 2, [change(model, 'x', 0, 1, a), change(model, 'y', 0, 2, a)]))
    const rows = [change(model, 'x', 1, 3, b), change(model, 'y', 2, 4, null), change(model, 'z', undefined, 4, b)]
    await applied(store, model, batch(2, 4, rows))
    assert.equal(await store.apply(model, batch(2, 4, rows)), 'lost')
    await applied(store, model, batch(4, 4, rows))
    assert.deepEqual(await rowsOf(store, model, ['x', 'y', 'z']), [b, undefined, b])
    assert.deepEqual(await keysInOrder(store, model, { index: 1 }), ['x', 'z'])
  },

  'does not let an old writer bring a deleted row back': async ({ store, model }) => {
    await applied(store, model, batch(null, 1, [change(model, 'x', 0, 1, a)]))
    await applied(store, model, batch(1, 2, [change(model, 'x', 1, 2, null)]))
    assert.equal(await store.apply(model, batch(1, 2, [change(model, 'x', 1, 2, b)])), 'lost')
    assert.equal(await store.apply(model, batch(null, 2, [change(model, 'x', 0, 2, b)])), 'lost')
    if ((await positionOf(store, model, 'x')) > 0) {
      // It is remembered, so that even with the right checkpoint what is older stays out.
      await applied(store, model, batch(2, 2, [change(model, 'x', 0, 1, b)]))
      await applied(store, model, batch(2, 2, [change(model, 'x', undefined, 2, b)]))
    }
    assert.deepEqual(await rowsOf(store, model, ['x']), [undefined])
    assert.deepEqual(await keysInOrder(store, model, { index: 0 }), [])
  },

  'deletes what is not there without complaint': async ({ store, model }) => {
    await applied(store, model, batch(null, 2, [change(model, 'x', 0, 1, null), change(model, 'y', undefined, 2, null)]))
    await applied(store, model, batch(2, 4, [change(model, 'z', 0, 4, null)]))
    assert.deepEqual(await rowsOf(store, model, ['x', 'y', 'z']), [undefined, undefined, undefined])
    assert.deepEqual(await checkpointOf(store, model), at(4))
  },

  'moves the checkpoint with empty batches, and never back': async ({ store, model }) => {
    await applied(store, model, batch(null, 0, []))
    await applied(store, model, batch(0, 10, []))
    await applied(store, model, batch(10, 10, []))
    await rejects(() => store.apply(model, batch(10, 9, [])), { code: 'usage' })
    assert.deepEqual(await checkpointOf(store, model), at(10))
  },

  'forgets everything that is dropped, also what a late writer then brings': async ({ store, model }) => {
    await applied(
      store,
      model,
      batch(null, 5, [change(model, 'x', 0, 5, a)], { park: [{ key: 'p', position: 5, eventId: null, reason: '' }] }),
    )
    await store.drop(model)
    await store.drop(model)
    assert.deepEqual(await store.load(model, ['x', 'p']), { checkpoint: null, rows: [], parked: 0 })
    assert.equal(await store.apply(model, batch(5, 6, [change(model, 'x', 5, 6, b)])), 'lost')
    for (const index of [undefined, 0]) assert.deepEqual(await keysInOrder(store, model, { index }), [])
    await applied(store, model, batch(null, 1, [change(model, 'x', 0, 1, b)]))
    assert.deepEqual(await rowsOf(store, model, ['x']), [b])
  },

  'keeps owners, names and versions apart': async ({ store, model, other }) => {
    const models = [
      model,
      other({ name: model.name, version: 2 }),
      other({ name: `${model.name}_v1` }),
      other({ name: model.name, owner: `${model.owner}_x` }),
      other({ name: `x_${model.name}`, owner: model.owner }),
      other({ name: model.name, owner: `${model.owner}:{1}.$/"'%*` }),
    ]
    for (const [n, each] of models.entries())
      await applied(store, each, batch(null, n, [change(each, 'x', 0, n + 1, { group: `${n}`, size: n })]))
    for (const [n, each] of models.entries()) {
      assert.deepEqual(await rowsOf(store, each, ['x']), [{ group: `${n}`, size: n }])
      assert.deepEqual(await keysInOrder(store, each, { index: 0 }), ['x'])
      assert.deepEqual(await checkpointOf(store, each), at(n))
    }
    await store.drop(model)
    for (const [n, each] of models.entries()) if (n > 0) assert.deepEqual(await checkpointOf(store, each), at(n))
  },
}

/** Apart, because not every server holds it. */
export const nestedChecks: Readonly<Record<string, StoreCheck>> = {
  'keeps arrays in arrays': async ({ store, model }) => {
    const fields: Fields = { group: 'a', size: 1, list: [[], [1, [2, [{ a: [[]] }]]]] }
    await applied(store, model, batch(null, 1, [change(model, 'x', 0, 1, fields)]))
    assert.deepEqual(await rowsOf(store, model, ['x']), [fields])
  },
}
