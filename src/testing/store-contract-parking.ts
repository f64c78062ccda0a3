import assert from 'node:assert/strict'
import { applied, at, batch, change, checkpointOf, keysInOrder, loaded, parkedAt, rowsOf, type StoreCheck } from './store-contract-case.ts'

const a = { group: 'a', size: 1 }
const b = { group: 'b', size: 2 }

/** Keys that are set aside, in the same step as rows and checkpoint. */
export const parkingChecks: Readonly<Record<string, StoreCheck>> = {
  'parks a key with its last good row, which stays readable': async ({ store, model }) => {
    const reason = `odd: "'\\\n\u0001%{}:\u{1f600} ${'long '.repeat(500)}`
    await applied(
      store,
      model,
      batch(null, 5, [change(model, 'x', 0, 3, a), change(model, 'y', 0, 4, b)], { park: [parkedAt('x', 5, reason)] }),
    )
    const rows = await loaded(store, model, ['x', 'y'])
    const parked = { position: 5, eventId: 'event-5', reason }
    assert.deepEqual(rows.get('x'), { key: 'x', row: a, position: 3, version: null, parked })
    assert.equal(rows.get('y')?.parked, undefined)
    const seen = await store.range(model, { index: 0, from: '', to: '6', reverse: false, limit: 10 })
    assert.deepEqual([seen.parked, seen.rows.map(({ key }) => key)], [1, ['x', 'y']])
    assert.equal((await store.load(model, [])).parked, 1)
    if (store.parked) assert.deepEqual(await store.parked(model), [{ key: 'x', ...parked }])
  },

  'parks a key that has no row, hidden from lists, and takes it back': async ({ store, model }) => {
    await applied(store, model, batch(null, 5, [], { park: [parkedAt('x', 4), { ...parkedAt('y', 5), eventId: null }, parkedAt('z', 5)] }))
    const rows = await loaded(store, model, ['x', 'y'])
    assert.deepEqual(rows.get('y'), {
      key: 'y',
      row: undefined,
      position: 0,
      version: null,
      parked: { position: 5, eventId: null, reason: 'it failed' },
    })
    for (const index of [undefined, 0, 1]) assert.deepEqual(await keysInOrder(store, model, { index }), [])
    assert.equal((await store.load(model, [])).parked, 3)
    await applied(store, model, batch(5, 8, [change(model, 'x', 0, 7, a), change(model, 'z', 0, 8, null)], { unpark: ['x', 'y', 'z'] }))
    assert.equal((await store.load(model, [])).parked, 0)
    const after = await loaded(store, model, ['x', 'y', 'z'])
    assert.deepEqual(after.get('x'), { key: 'x', row: a, position: 7, version: null, parked: undefined })
    assert.deepEqual([after.get('y')?.row, after.get('y')?.parked, after.get('z')?.parked], [undefined, undefined, undefined])
    assert.deepEqual(await keysInOrder(store, model, { index: 1 }), ['x'])
    await applied(store, model, batch(8, 9, [change(model, 'y', 0, 9, b)]))
    assert.deepEqual(await rowsOf(store, model, ['y']), [b])
  },

  'parks a key again at another event, in the batch that takes it back': async ({ store, model }) => {
    await applied(store, model, batch(null, 5, [change(model, 'x', 0, 3, a)], { park: [parkedAt('x', 4)] }))
    await applied(store, model, batch(5, 9, [change(model, 'x', 3, 6, b)], { unpark: ['x'], park: [parkedAt('x', 7, 'again')] }))
    const row = (await loaded(store, model, ['x'])).get('x')
    assert.deepEqual(row, { key: 'x', row: b, position: 6, version: null, parked: { position: 7, eventId: 'event-7', reason: 'again' } })
    assert.equal((await store.load(model, [])).parked, 1)
    await applied(store, model, batch(9, 9, [change(model, 'x', 6, 9, a)], { unpark: ['x'] }))
    assert.equal((await loaded(store, model, ['x'])).get('x')?.parked, undefined)
    assert.equal((await store.load(model, [])).parked, 0)
  },

  'deletes the row of a parked key without forgetting that it is parked': async ({ store, model }) => {
    await applied(store, model, batch(null, 3, [change(model, 'x', 0, 3, a)]))
    await applied(store, model, batch(3, 9, [change(model, 'x', 3, 6, null)], { park: [parkedAt('x', 7)] }))
    const row = (await loaded(store, model, ['x'])).get('x')
    assert.deepEqual([row?.row, row?.parked?.position], [undefined, 7])
    assert.deepEqual(await keysInOrder(store, model), [])
    assert.equal((await store.load(model, [])).parked, 1)
  },

  'parks and takes back nothing for a batch that is lost': async ({ store, model }) => {
    await applied(store, model, batch(null, 5, [change(model, 'x', 0, 3, a)], { park: [parkedAt('x', 4)] }))
    assert.equal(await store.apply(model, batch(4, 9, [], { unpark: ['x'], park: [parkedAt('y', 9)] })), 'lost')
    const rows = await loaded(store, model, ['x', 'y'])
    assert.equal(rows.get('x')?.parked?.position, 4)
    assert.equal(rows.get('y'), undefined)
    assert.equal((await store.load(model, [])).parked, 1)
    assert.deepEqual(await checkpointOf(store, model), at(5))
  },

  'does not let a batch pass over events of a key that was taken back since': async ({ store, model, again }) => {
    const sleeper = await again()
    await applied(store, model, batch(null, 100, [change(model, 'x', 0, 80, a)], { park: [parkedAt('x', 90)] }))
    const asleep = batch(100, 110, [change(model, 'y', 0, 108, b)], { stillParked: ['x'] })
    // To take a key back does not move the checkpoint.
    await applied(store, model, batch(100, 100, [change(model, 'x', 80, 90, b)], { unpark: ['x'] }))
    assert.equal(await sleeper.apply(model, asleep), 'lost')
    assert.deepEqual(await checkpointOf(store, model), at(100))
    const row = (await loaded(store, model, ['x'])).get('x')
    assert.deepEqual([row?.row, row?.position, row?.parked], [b, 90, undefined])
    await applied(store, model, batch(100, 110, [change(model, 'x', 90, 105, a)]))
  },

  'counts a batch that passes over events of keys that are still parked': async ({ store, model }) => {
    await applied(store, model, batch(null, 5, [change(model, 'x', 0, 3, a)], { park: [parkedAt('x', 4), parkedAt('z', 5)] }))
    await applied(store, model, batch(5, 9, [], { stillParked: ['x', 'z'] }))
    await applied(store, model, batch(9, 12, [change(model, 'y', 0, 12, b)], { stillParked: ['z'] }))
    assert.equal((await store.load(model, [])).parked, 2)
    const rows = await loaded(store, model, ['x', 'z'])
    assert.deepEqual([rows.get('x')?.parked?.position, rows.get('z')?.parked?.position], [4, 5])
    await applied(store, model, batch(12, 12, [change(model, 'x', 3, 11, b)], { unpark: ['x', 'z'] }))
    assert.equal((await store.load(model, [])).parked, 0)
    assert.deepEqual(await rowsOf(store, model, ['x']), [b])
  },

  'takes no key back in a batch that is lost to one that passed over its events': async ({ store, model, again }) => {
    const sleeper = await again()
    await applied(store, model, batch(null, 100, [change(model, 'x', 0, 80, a)], { park: [parkedAt('x', 90)] }))
    const asleep = batch(100, 100, [change(model, 'x', 80, 90, b)], { unpark: ['x'] })
    await applied(store, model, batch(100, 110, [], { stillParked: ['x'] }))
    assert.equal(await sleeper.apply(model, asleep), 'lost')
    const row = (await loaded(store, model, ['x'])).get('x')
    assert.equal(row?.parked?.position, 90)
    assert.equal((await store.load(model, [])).parked, 1)
  },

  'says nothing of a batch that parks and takes back the same again': async ({ store, model }) => {
    const done = { park: [parkedAt('y', 5)], unpark: ['x', 'nobody'] }
    await applied(store, model, batch(null, 5, [change(model, 'x', 0, 3, a)], { park: [parkedAt('x', 4)] }))
    for (let time = 0; time < 3; time++) await applied(store, model, batch(5, 5, [], done))
    assert.equal((await store.load(model, [])).parked, 1)
    const rows = await loaded(store, model, ['x', 'y', 'nobody'])
    assert.deepEqual([...rows.keys()].toSorted(), ['x', 'y'])
    assert.equal(rows.get('x')?.parked, undefined)
  },
}
