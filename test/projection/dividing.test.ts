import { type Batch, DefinitionError, NotReadyError, type Store } from 'headwater'
import { memory } from 'headwater/memory'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ProjectionWorker } from '../../src/projection/worker.ts'
import { balances } from '../support/balances.ts'
import { controlled } from '../support/controlled-store.ts'
import { databases } from '../support/databases.ts'
import type { Happening, Ledger } from '../support/ledger.ts'
import { projectionSuite } from '../support/projection-suite.ts'
import { stores } from '../support/stores.ts'
import { waitUntil } from '../support/wait.ts'

type Filled = readonly [stream: string, ...Happening]

const streams = Array.from({ length: 40 }, (_, i) => `s${i}`)
const opened = streams.map((stream): Filled => [stream, 'Opened', { owner: stream }])
const deposits = (count: number, amount = 1) =>
  Array.from({ length: count }, (_, i): Filled => [streams[i % streams.length] ?? '', 'Deposited', { amount }])

for (const target of databases) {
  describe.skipIf(target.skip)(`dividing a projection on ${target.name}`, () => {
    let ledger: Ledger
    const suite = projectionSuite(target, () => ledger)
    const { started, stopped, handleOf } = suite

    beforeEach(() => {
      ;({ ledger } = suite.opened())
    })

    async function ranges() {
      const { database, schema } = suite.opened()
      const { rows } = await database.query<{ first: number; last: number }>(
        `select first, last from "${schema}".checkpoint where projection = (select max(id) from "${schema}".projection) order by first`,
      )
      return rows.map(({ first, last }) => [first, last])
    }

    async function owners() {
      const { database, schema } = suite.opened()
      const { rows } = await database.query<{ owner: string | null }>(`select owner from "${schema}".checkpoint`)
      return rows.map(({ owner }) => owner)
    }

    /** Divides again and again while events are appended, and compares every row with its fold. */
    async function divideUnderLoad(worker: ProjectionWorker, handle: ReturnType<typeof handleOf>) {
      let writing = true
      const load = (async () => {
        for (let i = 0; writing; i++) await ledger.append(streams[i % streams.length] ?? '', ['Deposited', { amount: 1 }])
      })()
      // Waited for below; not to be unheard when something else fails first.
      load.catch(() => undefined)
      try {
        for (const count of [4, 3, 1, 7, 2, 1]) {
          await handle.divide(count)
          expect(await ranges()).toHaveLength(count)
          await worker.settle()
        }
      } finally {
        writing = false
        await load
      }
      await worker.settle()
      expect((await handle.verify()).differences).toEqual([])
      expect(await ranges()).toEqual([[0, 63]])
    }

    test('ranges are cut and joined while others write, and nothing is lost or doubled', async () => {
      const worker = await started(balances())
      await ledger.fill(opened)
      await divideUnderLoad(worker, handleOf(worker))
    })

    describe.each(stores.map((store) => ({ ...store })))('in $name', ({ skip, open }) => {
      const own: Store[] = []
      afterEach(async () => {
        for (const store of own.splice(0)) await store.close?.()
      })

      test.skipIf(skip || target.name !== 'postgres')('the same', { timeout: 240_000 }, async () => {
        const store = await open()
        own.push(store)
        const worker = await started(balances({ store }))
        await ledger.fill(opened)
        await divideUnderLoad(worker, handleOf(worker))
        for (const { model } of worker.own) await store.drop(model)
      })
    })

    test('ranges that stand at different places in a store are brought to one by whoever takes them together', async () => {
      const store = memory()
      const hindered = controlled(store)
      hindered.checkpoints = (model) => store.checkpoints?.(model) ?? Promise.resolve([])
      const first = await started(balances({ store: hindered }))
      await ledger.fill(opened)
      await first.settle()
      await handleOf(first).divide(2)
      // Until each has an owner of its own, the one of the whole may still write.
      await waitUntil(async () => (await owners()).every((owner) => owner !== null))
      hindered.onApply = async (batch: Batch) => (batch.partitions.first >= 32 ? false : undefined)
      await ledger.fill(deposits(200))
      const model = first.own[0]?.model
      if (!model) throw new Error('no model')
      first.wake()
      await waitUntil(async () => (await store.checkpoints?.(model))?.some(({ checkpoint }) => checkpoint.position === 240) === true)
      await handleOf(first).divide(1)
      await stopped(first)
      expect((await store.checkpoints?.(model))?.map(({ checkpoint }) => checkpoint.position)).toEqual([240, 40])
      const second = await started(balances({ store }))
      await second.settle()
      expect((await handleOf(second).verify()).differences).toEqual([])
      expect((await store.checkpoints?.(model))?.map(({ partitions, checkpoint }) => [partitions, checkpoint.position])).toEqual([
        [{ first: 0, last: 63 }, 240],
      ])
    })

    test('ranges that are too far apart are not joined, and it is said why', async () => {
      const { database, schema } = suite.opened()
      await ledger.fill([...opened, ...deposits(10_000)])
      const first = await started(balances())
      await first.settle()
      await handleOf(first).divide(2)
      await stopped(first)
      await database.query(
        `update "${schema}".checkpoint set position = 0, event_id = null, owner = null, lease_until = null where first = 32`,
      )
      const looking = await started(balances(), { fold: false })
      await expect(handleOf(looking).divide(1)).rejects.toThrow(NotReadyError)
      await expect(handleOf(looking).divide(1)).rejects.toThrow(/10040 events apart/)
      expect(await ranges()).toEqual([
        [0, 31],
        [32, 63],
      ])
      const second = await started(balances())
      await second.settle()
      await handleOf(second).divide(1)
      expect(await ranges()).toEqual([[0, 63]])
      expect((await handleOf(second).verify()).differences).toEqual([])
    })

    test('the next version is divided like the one before it', async () => {
      const first = await started(balances())
      await ledger.fill(opened)
      await first.settle()
      await handleOf(first).divide(4)
      await first.settle()
      const second = await started(balances({ version: 2 }))
      expect(await ranges()).toEqual([
        [0, 15],
        [16, 31],
        [32, 47],
        [48, 63],
      ])
      await second.settle()
      expect((await handleOf(second).verify()).differences).toEqual([])
    })

    test('batches name the parked keys that they passed over', async () => {
      const store = controlled(memory())
      const worker = await started(balances({ store, isUnlucky: () => true }))
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 13 }])
      await worker.settle()
      await ledger.append('b', ['Opened', { owner: 'bob' }])
      await worker.settle()
      await ledger.append('a', ['Deposited', { amount: 1 }])
      await ledger.append('b', ['Deposited', { amount: 1 }])
      await worker.settle()
      const named = store.written
        .map(({ stillParked = [], park }) => [park.map(({ key }) => key), stillParked])
        .filter(([x, y]) => x?.length || y?.length)
      expect(named).toEqual([
        [['a'], []],
        [[], ['a']],
      ])
    })

    test('a version does not move to another store by itself', async () => {
      await started(balances({ store: memory() }))
      const other = Object.assign(controlled(memory()), { description: 'another memory' })
      await expect(started(balances({ store: other }))).rejects.toThrow(DefinitionError)
      await expect(started(balances({ store: other }))).rejects.toThrow(/version 1 is in memory, not in another memory; raise "version"/)
    })
  })
}
