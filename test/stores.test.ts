import type { Batch, Seen, Store, StoredModel } from 'headwater'
import { memory } from 'headwater/memory'
import { storeContract } from 'headwater/testing'
import { describe, expect, test } from 'vitest'
import { stores } from './support/stores.ts'

for (const { name, skip, open, ...limits } of stores) {
  describe.skipIf(skip)(`the store contract on ${name}`, async () => {
    for (const { name: promise, skip: reason, run } of storeContract(open, limits)) {
      test.skipIf(reason)(reason ? `${promise} (skipped: ${reason})` : promise, run)
    }
  })
}

describe('the store contract itself', () => {
  const nothing: Seen<never> = { checkpoint: null, rows: [], parked: 0 }
  const silent: Store = {
    description: 'a store that keeps nothing',
    load: async () => nothing,
    range: async () => nothing,
    apply: async () => 'applied',
    drop: async () => {},
  }

  test('has cases, each with a name of its own', () => {
    const cases = storeContract(async () => silent)
    expect(cases.length).toBeGreaterThan(30)
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length)
  })

  test('skips what needs several owners for the reason given, and nothing else', () => {
    const skipped = storeContract(async () => silent, { singleOwner: 'no compare-and-set' }).filter(({ skip }) => skip)
    expect(skipped.map(({ skip }) => skip)).toEqual(Array(6).fill('no compare-and-set'))
  })

  test.each(storeContract(async () => silent))('$name: fails on a store that keeps nothing', async ({ run }) => {
    await expect(run()).rejects.toThrow()
  })

  // The same with a store that passes the opening question, so that each case is seen to look for itself.
  test.each(storeContract(async () => opened()))('$name: fails on a store that keeps one row', async ({ run }) => {
    await expect(run()).rejects.toThrow()
  })

  test.each(Object.entries(faults))('finds out a store that %s', async (_fault, broken) => {
    await expect(runAll(broken)).rejects.toThrow()
  })

  function opened(): Store {
    const inner = memory()
    const isOpening = ({ name }: StoredModel) => name === 'opening'
    return {
      ...silent,
      description: '',
      load: async (model, keys) => (isOpening(model) ? inner.load(model, keys) : nothing),
      apply: async (model, batch) => (isOpening(model) ? inner.apply(model, batch) : 'applied'),
    }
  }
})

async function runAll(open: () => Promise<Store>): Promise<void> {
  for (const { run } of storeContract(open)) await run()
}

type Fault = (store: Store) => Partial<Store>

/** A store that is right but for one thing; whoever opens it again gets the same. */
function but(fault: Fault): () => Promise<Store> {
  const inner = memory()
  const right: Store = {
    description: inner.description,
    load: inner.load.bind(inner),
    range: inner.range.bind(inner),
    apply: inner.apply.bind(inner),
    drop: inner.drop.bind(inner),
  }
  const broken: Store = { ...right, ...fault(right) }
  return async () => broken
}

function changed(change: (batch: Batch, store: Store, model: StoredModel) => Batch | Promise<Batch>): () => Promise<Store> {
  return but((store) => ({ apply: async (model, batch) => store.apply(model, await change(batch, store, model)) }))
}

function renamed(change: (model: StoredModel) => StoredModel): () => Promise<Store> {
  return but((store) => ({
    load: (model, keys) => store.load(change(model), keys),
    range: (model, request) => store.range(change(model), request),
    apply: (model, batch) => store.apply(change(model), batch),
    drop: (model) => store.drop(change(model)),
  }))
}

function ranged(change: (...call: Parameters<Store['range']>) => Parameters<Store['range']>): () => Promise<Store> {
  return but((store) => ({ range: (...call) => store.range(...change(...call)) }))
}

const rounded = (position: number) => Number(position.toPrecision(14))

const faults: Readonly<Record<string, () => Promise<Store>>> = {
  'ignores where a batch began': changed(async (batch, store, model) => ({ ...batch, from: (await store.load(model, [])).checkpoint })),
  'ignores the event under a checkpoint': changed(async (batch, store, model) => {
    const { checkpoint } = await store.load(model, [])
    return batch.from && checkpoint?.position === batch.from.position ? { ...batch, from: checkpoint } : batch
  }),
  'takes a lost batch for an applied one': but((store) => ({
    apply: async (model, batch) => {
      await store.apply(model, batch)
      return 'applied'
    },
  })),
  'writes the rows of a lost batch': but((store) => ({
    apply: async (model, batch) => {
      const outcome = await store.apply(model, batch)
      const { checkpoint } = await store.load(model, [])
      if (outcome === 'lost' && checkpoint) await store.apply(model, { ...batch, from: checkpoint, to: checkpoint })
      return outcome
    },
  })),
  'ignores what a row was': changed((batch) => ({ ...batch, rows: batch.rows.map((row) => ({ ...row, was: undefined })) })),
  'lets an older row over a newer one': changed(async (batch, store, model) => {
    const positions = new Map(
      (
        await store.load(
          model,
          batch.rows.map(({ key }) => key),
        )
      ).rows.map(({ key, position }) => [key, position]),
    )
    return { ...batch, rows: batch.rows.map((row) => ({ ...row, was: row.was ?? positions.get(row.key) ?? 0 })) }
  }),
  'does not delete': changed((batch) => ({ ...batch, rows: batch.rows.filter(({ row }) => row !== null) })),
  'lets a checkpoint go back': but((store) => ({
    apply: async (model, batch) => (batch.from && batch.from.position > batch.to.position ? 'applied' : store.apply(model, batch)),
  })),
  'ignores partitions': changed((batch) => ({ ...batch, partitions: { first: 0, last: 63 } })),
  'forgets to park': changed((batch) => ({ ...batch, park: [] })),
  'forgets to take back': changed((batch) => ({ ...batch, unpark: [] })),
  'takes back after it parks': changed((batch) => ({ ...batch, park: batch.park.filter(({ key }) => !batch.unpark.includes(key)) })),
  'does not count the parked': but((store) => ({
    load: async (model, keys) => ({ ...(await store.load(model, keys)), parked: 0 }),
  })),
  'does not drop': but(() => ({ drop: async () => {} })),
  'mixes owners': renamed((model) => ({ ...model, owner: '' })),
  'mixes names': renamed((model) => ({ ...model, name: '' })),
  'mixes versions': renamed((model) => ({ ...model, version: 0 })),
  'joins owner and name': renamed((model) => ({ ...model, owner: '', name: `${model.owner}_${model.name}` })),
  'takes what was never built for empty': but((store) => ({
    load: async (model, keys) => {
      const seen = await store.load(model, keys)
      return { ...seen, checkpoint: seen.checkpoint ?? { position: 0, eventId: null } }
    },
  })),
  'keeps 14 digits of a position': changed((batch) => ({
    ...batch,
    from: batch.from && { ...batch.from, position: rounded(batch.from.position) },
    to: { ...batch.to, position: rounded(batch.to.position) },
  })),
  'loses versions': changed((batch) => ({ ...batch, rows: batch.rows.map((row) => ({ ...row, version: null })) })),
  'orders by UTF-16': but((store) => ({
    range: async (model, request) => {
      const seen = await store.range(model, request)
      const rows = seen.rows.toSorted((a, b) => (a.at < b.at ? -1 : 1))
      return { ...seen, rows: request.reverse ? rows.reverse() : rows }
    },
  })),
  'knows one direction': ranged((model, request) => [model, { ...request, reverse: false }]),
  'knows no limit': ranged((model, request) => [model, { ...request, limit: 1e6 }]),
  'leaves out the first': ranged((model, request) => [model, { ...request, from: `${request.from}\u0001` }]),
  'takes the end in': ranged((model, request) => [model, { ...request, to: `${request.to}\u0001` }]),
  'takes one index for another': ranged((model, request) => [model, { ...request, index: request.index && 0 }]),
  'shows the rows first and the checkpoint then': but((store) => ({
    load: async (model, keys) => {
      const before = await store.load(model, keys)
      for (let turn = 0; turn < 5; turn++) await Promise.resolve()
      return { ...before, checkpoint: (await store.load(model, [])).checkpoint }
    },
  })),
  'lets two owners in between reading and writing': but((store) => ({
    apply: async (model, batch) => {
      const { checkpoint } = await store.load(model, [])
      if (checkpoint?.eventId !== batch.from?.eventId || batch.partitions.last - batch.partitions.first < 63)
        return store.apply(model, batch)
      const now = await store.load(
        model,
        batch.rows.map(({ key }) => key),
      )
      const positions = new Map(now.rows.map(({ key, position }) => [key, position]))
      return store.apply(model, {
        ...batch,
        from: now.checkpoint,
        rows: batch.rows.map((row) => ({ ...row, was: positions.get(row.key) ?? 0 })),
      })
    },
  })),
}
