import type { Store } from 'headwater'
import { memory } from 'headwater/memory'
import { manualClock } from 'headwater/testing'
import { describe, expect, test } from 'vitest'
import { storeSight } from '../src/read-model/store-sight.ts'

const model = { owner: 'sight', name: 'cards', version: 1, indexes: [] }
const row = (key: string) => ({ key, was: undefined, position: 1, version: null, row: '{}', index: [] })

/** A store that answers, fails or hangs, and says how often it was asked. */
async function aStore() {
  const inner = memory()
  const batch = { from: null, to: { position: 1, eventId: 'e1' }, rows: [row('a'), row('b')], park: [], unpark: [] }
  await inner.apply(model, { ...batch, partitions: { first: 0, last: 63 } })
  const store = { behaviour: (): Promise<void> => Promise.resolve(), asked: 0 }
  const asks: Store = {
    description: 'a store',
    load: async (...given) => {
      store.asked++
      await store.behaviour()
      return await inner.load(...given)
    },
    size: async (given) => {
      await store.behaviour()
      return await (inner.size?.(given) ?? { rows: 0, bytes: 0 })
    },
    range: (...given) => inner.range(...given),
    apply: (...given) => inner.apply(...given),
    drop: (given) => inner.drop(given),
  }
  return Object.assign(store, { asks })
}

const fail = () => Promise.reject(new Error('down'))

describe('a look at a store', () => {
  test('says what is there', async () => {
    const { asks } = await aStore()
    expect(await storeSight(manualClock(), asks, model)).toMatchObject({ size: { rows: 2 }, parked: 0, answers: true })
  })

  test('tells of a store that fails what was last seen, and that it does not answer', async () => {
    const store = await aStore()
    const clock = manualClock()
    await storeSight(clock, store.asks, model)
    store.behaviour = fail
    expect(await storeSight(clock, store.asks, model)).toMatchObject({ size: { rows: 2 }, parked: 0, answers: false })
    store.behaviour = () => Promise.resolve()
    expect((await storeSight(clock, store.asks, model)).answers).toBe(true)
  })

  test('knows nothing of a store that never answered', async () => {
    const store = await aStore()
    store.behaviour = fail
    expect(await storeSight(manualClock(), store.asks, model)).toEqual({ size: { rows: 0, bytes: 0 }, parked: undefined, answers: false })
  })

  test('waits a second for a store that hangs, and asks it once however often it is looked at', async () => {
    const store = await aStore()
    const clock = manualClock()
    await storeSight(clock, store.asks, model)
    let letGo = () => {}
    const held = new Promise<void>((resolve) => {
      letGo = resolve
    })
    store.behaviour = () => held
    const first = storeSight(clock, store.asks, model)
    await clock.advance(1000)
    expect(await first).toMatchObject({ size: { rows: 2 }, answers: undefined })
    // Nobody waits again for what is overdue.
    expect((await storeSight(clock, store.asks, model)).answers).toBeUndefined()
    expect(store.asked).toBe(2)
    letGo()
    await held
    store.behaviour = () => Promise.resolve()
    await expect.poll(async () => (await storeSight(clock, store.asks, model)).answers).toBe(true)
  })
})
