import type { Batch, Store, StoredModel } from 'headwater'
import { memory } from 'headwater/memory'
import { mongodb } from 'headwater/mongodb'
import { storeContract } from 'headwater/testing'
import { MongoClient } from 'mongodb'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { breaking, inTurns, sleeping } from '../support/mongodb-steps.ts'
import { mongodbMissing } from '../support/store-addresses.ts'
import { at, batch, catchUp, change, contents, freshModel, someSteps } from '../support/stored-model.ts'
import { mongodbUrl, run } from '../support/stores.ts'

const skip = await mongodbMissing()
const stepsMax = 40

describe.skipIf(skip)('owners in MongoDB that meet', () => {
  let client: MongoClient
  const open = (own = client) => mongodb(own, { database: run })
  beforeAll(async () => {
    client = await new MongoClient(mongodbUrl).connect()
  })
  afterAll(() => client.close())

  const parkedAt = (key: string, position: number) => ({ key, position, eventId: `event-${position}`, reason: 'it failed' })

  /** Runs one batch that sleeps before each of its steps in turn, and another one meanwhile; then looks. */
  async function meet(
    given: readonly Batch[],
    slow: (model: StoredModel) => Batch,
    quick: (model: StoredModel) => Batch,
    look: (store: Store, model: StoredModel, outcomes: { readonly slow: string; readonly quick: string }) => Promise<void>,
  ): Promise<number> {
    for (let step = 0; step < stepsMax; step++) {
      const [store, model, bed] = [open(), freshModel(), sleeping(client, step)]
      for (const each of given) expect(await store.apply(model, each)).toBe('applied')
      const late = open(bed.client).apply(model, slow(model))
      void late.finally(bed.never)
      const slept = await bed.asleep
      const outcome = await store.apply(model, quick(model))
      bed.wake()
      await look(store, model, { slow: await late, quick: outcome })
      await expectCounted(store, model)
      await store.drop(model)
      if (!slept) return step
    }
    throw new Error('it never ended')
  }

  async function expectCounted(store: Store, model: StoredModel) {
    expect((await store.load(model, [])).parked).toBe((await store.parked?.(model))?.length)
  }

  const model = freshModel()
  const parkedAtNinety = [
    batch(null, 100, [change(model, 'k', 0, 80, { name: 'k' }), change(model, 'l', 0, 1, { name: 'l' })], {
      park: [parkedAt('k', 90), parkedAt('n', 91)],
    }),
  ]
  const takesBack = () => batch(100, 100, [change(model, 'k', 80, 95, { name: 'retried' })], { unpark: ['k', 'n'] })
  const passesOver = () => batch(100, 110, [change(model, 'l', 1, 104, { name: 'L' })], { stillParked: ['k', 'n'] })

  /** Never is a key back under a checkpoint that passed it over. If neither counted, each was first at one key, and their next ones count. */
  async function lookAtBoth(store: Store, of: StoredModel, outcomes: readonly string[]) {
    const { rows, checkpoint } = await store.load(of, ['k', 'n'])
    const back = ['k', 'n'].filter((key) => !rows.some((row) => row.key === key && row.parked))
    expect([back.length > 0 && checkpoint?.position === 110, outcomes.includes('applied') || back.length > 0]).toEqual([false, true])
    expect([checkpoint?.position, back]).toEqual(outcomes.includes('applied') && back.length === 0 ? [110, []] : [100, back])
    if (outcomes.includes('applied')) return
    const stillParked = ['k', 'n'].filter((key) => !back.includes(key))
    expect(await store.apply(of, batch(100, 110, [], { stillParked }))).toBe('applied')
    expect(await store.apply(of, batch(110, 110, [], { unpark: stillParked }))).toBe('applied')
  }

  test('a batch that takes keys back sleeps anywhere, while another one passes over their events', async () => {
    const steps = await meet(parkedAtNinety, takesBack, passesOver, (store, of, { slow, quick }) => lookAtBoth(store, of, [slow, quick]))
    expect(steps).toBeGreaterThan(5)
  })

  test('a batch that passes over events sleeps anywhere, while another one takes the keys back', async () => {
    const steps = await meet(parkedAtNinety, passesOver, takesBack, (store, of, { slow, quick }) => lookAtBoth(store, of, [slow, quick]))
    expect(steps).toBeGreaterThan(4)
  })

  test('a batch that parks sleeps anywhere, while another one writes the row with the event that failed', async () => {
    const given = [batch(null, 100, [change(model, 'k', 0, 80, { name: 'k' })])]
    const parks = () => batch(100, 110, [change(model, 'm', 0, 103, { name: 'm' })], { park: [parkedAt('k', 105), parkedAt('n', 106)] })
    const folds = () => batch(100, 120, [change(model, 'k', 80, 115, { name: 'K' }), change(model, 'n', 0, 116, { name: 'N' })])
    await meet(given, parks, folds, async (store, of, { slow, quick }) => {
      const { rows, checkpoint } = await store.load(of, ['k', 'n'])
      const isParked = slow === 'applied'
      expect([slow, quick].toSorted()).toEqual(['applied', 'lost'])
      expect(checkpoint).toEqual(at(isParked ? 110 : 120))
      if (!isParked)
        expect(rows.map(({ position, parked }) => [position, parked])).toEqual([
          [115, undefined],
          [116, undefined],
        ])
    })
  })

  test('a batch that took nothing back says so, whatever slept in between', async () => {
    const store = open()
    await store.apply(model, { ...parkedAtNinety[0], from: null } as Batch)
    expect(await store.apply(model, passesOver())).toBe('applied')
    expect(await store.apply(model, { ...takesBack(), from: at(110), to: at(110) })).toBe('applied')
    expect((await store.load(model, ['k'])).rows).toMatchObject([{ row: '{"name":"retried"}', parked: undefined }])
    await store.drop(model)
  })

  test('a key that is parked again still says up to where its events were passed over', async () => {
    const [store, of] = [open(), freshModel()]
    for (const each of [...parkedAtNinety, passesOver()]) await store.apply(of, each)
    await store.apply(of, batch(110, 110, [change(of, 'k', 80, 96, { name: 'again' })], { park: [parkedAt('k', 97)] }))
    const [document] = await client
      .db(run)
      .collection<{ _id: string; parked: { position: number; passed: number } }>(store.collectionName(of))
      .find({ _id: 'k' })
      .toArray()
    expect(document?.parked).toMatchObject({ position: 97, passed: 110 })
    await store.drop(of)
  })

  test('a batch that breaks off anywhere leaves no wrong number of parked keys behind, for readers nor for the next batch', async () => {
    for (let step = 0; ; step++) {
      const [store, of, broken] = [open(), freshModel(), breaking(client, step)]
      for (const each of parkedAtNinety) await store.apply(of, each)
      const done = batch(100, 110, [], { park: [parkedAt('p', 105)], unpark: ['k'] })
      await open(broken.client)
        .apply(of, done)
        .catch(() => {})
      await expectCounted(store, of)
      const { checkpoint } = await store.load(of, [])
      expect(await store.apply(of, { ...batch(100, 120, []), from: checkpoint })).toBe('applied')
      await expectCounted(store, of)
      if (checkpoint?.position === 100) expect(await store.apply(of, { ...done, from: at(120), to: at(120) })).toBe('applied')
      expect((await store.parked?.(of))?.map(({ key }) => key).toSorted()).toEqual(['n', 'p'])
      await store.drop(of)
      if (!broken.broke()) break
    }
  })

  test.each([
    ['where nothing was', false],
    ['over what another life left', true],
  ])('two that begin a version at the same time, %s, may have to begin again, but nobody reads a part of it', async (_where, left) => {
    const events = someSteps(12, 3)
    const [reference, expected] = [memory(), freshModel()]
    await catchUp(reference, expected, events, 12)
    const whole = await contents(reference, expected)
    for (let step = 0, slept = true; slept; step++) {
      const [store, of, bed] = [open(), freshModel(), sleeping(client, step)]
      if (left) await leaveRows(store, of)
      const late = open(bed.client).apply(of, batch(null, 0, []))
      void late.finally(bed.never)
      slept = await bed.asleep
      await catchUp(store, of, events, 12)
      bed.wake()
      await late
      const { checkpoint } = await store.load(of, [])
      if (checkpoint?.position === 12) expect(await contents(store, of)).toEqual(whole)
      await catchUp(store, of, events, 12)
      expect((await store.load(of, [])).checkpoint?.position).toBe(12)
      expect(await contents(store, of)).toEqual(whole)
      await store.drop(of)
    }
  })

  /** What a drop leaves that was broken off: rows, newer than all that is folded then. */
  async function leaveRows(store: Store, of: StoredModel) {
    await store.apply(of, batch(null, 900, [change(of, 'key 1', 0, 900, { name: 'old' }), change(of, 'zz', 0, 900, { name: 'old' })]))
    await client.db(run).collection('headwater_state').deleteOne({ owner: of.owner })
  }

  test('rows that a drop left when it broke off are not adopted', async () => {
    const [store, of] = [open(), freshModel()]
    await leaveRows(store, of)
    expect(await store.load(of, ['zz'])).toEqual({ checkpoint: null, rows: [], parked: 0 })
    expect(await store.apply(of, batch(null, 5, [change(of, 'key 1', 0, 4, { name: 'new' })]))).toBe('applied')
    expect(await contents(store, of)).toEqual({ 'key 1': { name: 'new', position: 4 } })
    await store.drop(of)
  })

  describe('with each write one step, as on a server with compare-and-set', () => {
    const turns = { last: Promise.resolve() as Promise<unknown> }
    const ownersOnly = new Set(
      storeContract(async () => memory(), { singleOwner: 'these' })
        .filter(({ skip: reason }) => reason === 'these')
        .map(({ name }) => name),
    )
    const cases = storeContract(async () => open(inTurns(client, turns)))
    test.each(cases.filter(({ name }) => ownersOnly.has(name)))('$name', async ({ run: check }) => check())
  })
})
