import assert from 'node:assert/strict'
import type { Store, StoredModel } from '../index.ts'
import type { ContractCase } from './contract-case.ts'
import { batchChecks, nestedChecks } from './store-contract-batches.ts'
import { applied, batch, change, checkpointOf, rowsOf, type StoreCheck, type StoreSubject } from './store-contract-case.ts'
import { largeChecks, orderChecks } from './store-contract-order.ts'
import { ownerChecks, partitionChecks } from './store-contract-owners.ts'
import { parkingChecks } from './store-contract-parking.ts'

/** A case of the store contract; `skip` says why this store cannot keep it, or is false. */
export interface StoreContractCase extends ContractCase {
  readonly skip: string | false
}

/** What a store cannot do, with the reason. */
export interface StoreContractOptions {
  /** Why the store has no atomic compare-and-set: the cases with several owners at once are then skipped for this reason. */
  readonly singleOwner?: string | false | undefined
  /** Why the store cannot hold an array within an array: such rows are then left out. */
  readonly flatArrays?: string | false | undefined
  /** How many rows the largest batch has. Default 5,000, the most that Headwater sends. */
  readonly largeBatch?: number
}

const describing: Readonly<Record<string, StoreCheck>> = {
  'says what it is': async ({ store }) => {
    assert.ok(store.description.length > 0)
    for (const member of ['load', 'range', 'apply', 'drop'] as const) assert.equal(typeof store[member], 'function')
  },
}

/**
 * What every `Store` keeps, as cases for any test runner. `open` opens the store; it is called again in the same case for a second owner, who
 * must see the same data (a store that lives in this process hands out the same one). Each case makes versions of read models under an
 * owner of its own, drops them, and closes what it opened.
 *
 * Texts and keys hold no U+0000 and no half of a surrogate pair; `to` of a range may be any text.
 *
 * @example
 * for (const { name, skip, run } of storeContract(() => Promise.resolve(redis(url)))) test.skipIf(skip)(name, run)
 */
export function storeContract(open: () => Promise<Store>, options: StoreContractOptions = {}): readonly StoreContractCase[] {
  const { singleOwner = false, flatArrays = false, largeBatch = 5_000 } = options
  const cases = (checks: Readonly<Record<string, StoreCheck>>, skip: string | false) =>
    Object.entries(checks).map(([name, check]) => ({ name, skip, run: () => runOn(open, check) }))
  return [
    ...cases({ ...describing, ...batchChecks, ...orderChecks, ...parkingChecks, ...partitionChecks, ...largeChecks(largeBatch) }, false),
    ...cases(nestedChecks, flatArrays),
    ...cases(ownerChecks, singleOwner),
  ]
}

async function runOn(open: () => Promise<Store>, check: StoreCheck): Promise<void> {
  const opened: Store[] = []
  const again = async () => {
    const store = await open()
    opened.push(store)
    return store
  }
  const models: StoredModel[] = []
  const owner = `contract_${Math.random().toString(36).slice(2, 12)}`
  const other: StoreSubject['other'] = (changes) => {
    const model = { owner, name: `model_${models.length}`, version: 1, indexes, ...changes }
    models.push(model)
    return model
  }
  const store = await again()
  try {
    await keepsAnything(store, other({ name: 'opening' }))
    await check({ store, model: other(), other, again })
  } finally {
    for (const model of models) await store.drop(model)
    for (const each of new Set(opened)) await each.close?.()
  }
}

const indexes = [
  { name: 'byGroup', fields: ['group'] },
  { name: 'bySize', fields: ['size', 'group'] },
]

/** A store that does nothing would pass many a check; so each case begins with a row that only a real one gives back. */
async function keepsAnything(store: Store, model: StoredModel): Promise<void> {
  const fields = { group: Math.random().toString(36), size: 1 }
  await applied(store, model, batch(null, 1, [change(model, 'x', 0, 1, fields)]))
  assert.deepEqual(await rowsOf(store, model, ['x']), [fields], 'the store keeps nothing')
  assert.equal((await checkpointOf(store, model))?.position, 1)
}
