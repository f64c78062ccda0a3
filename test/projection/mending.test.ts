import type { Database } from 'headwater'
import { memory } from 'headwater/memory'
import { beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { projection } from '../../src/projection/projection.ts'
import { type BalancesOptions, balances as fallibleBalances } from '../support/balances.ts'
import { databases } from '../support/databases.ts'
import { account, type Ledger, openLedger } from '../support/ledger.ts'
import { projectionSuite } from '../support/projection-suite.ts'
import { waitUntil } from '../support/wait.ts'

/** Whether handlers fail at an amount of 13, as a bug that a new deployment mends. */
let unlucky = true
const balances = (options: BalancesOptions = {}) => fallibleBalances({ ...options, isUnlucky: () => unlucky })

/** One row for all events: a key that is no stream. */
const totals = projection('totals', {
  from: [account],
  row: z.object({ events: z.int(), amount: z.int() }),
  key: ({ type }) => (type === 'Deposited' ? ['all', 'deposits'] : 'all'),
  on: {
    Opened: (row) => ({ events: (row?.events ?? 0) + 1, amount: row?.amount ?? 0 }),
    Deposited: (row, { data }) => ({ events: (row?.events ?? 0) + 1, amount: (row?.amount ?? 0) + data.amount }),
  },
})

for (const target of databases) {
  describe.skipIf(target.skip)(`mending a projection on ${target.name}`, () => {
    let database: Database
    let schema: string
    let ledger: Ledger
    const { opened, started, stopped, statusOf, handleOf } = projectionSuite(target, () => ledger)

    beforeEach(() => {
      ;({ database, schema, ledger } = opened())
      unlucky = true
    })

    test('a parked key waits, is retried in order once the handler is mended, and named until then', async () => {
      const running = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 13 }], ['Deposited', { amount: 1 }])
      await ledger.append('b', ['Opened', { owner: 'bob' }])
      await running.settle()
      await ledger.append('a', ['Deposited', { amount: 2 }])
      await running.settle()
      const handle = handleOf(running)
      expect(await handle.parked()).toMatchObject([{ key: 'a', position: 2, reason: 'unlucky' }])
      expect(await handle.status()).toMatchObject({ state: 'live', parked: 1, rows: 2, pending: 0 })
      expect((await handle.verify()).differences).toEqual([])
      await expect(handle.retry('a')).rejects.toThrow(/parked again at position 2: unlucky/)
      await expect(handle.retry('b')).rejects.toThrow(/not parked/)
      unlucky = false
      await handle.retry()
      expect(await handle.parked()).toEqual([])
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 16 }, b: { balance: 0 } })
      await ledger.append('a', ['Deposited', { amount: 4 }])
      await running.settle()
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 20 } })
      expect((await handle.verify()).differences).toEqual([])
    })

    test('an event is skipped with a reason that is kept, and the fold agrees from then on', async () => {
      const running = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 13 }], ['Deposited', { amount: 1 }])
      await running.settle()
      const handle = handleOf(running)
      await expect(handle.skip('a', ' ')).rejects.toThrow(/reason/)
      await handle.skip('a', 'entered twice')
      await ledger.append('a', ['Deposited', { amount: 2 }])
      await running.settle()
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 3 } })
      expect((await handle.verify()).differences).toEqual([])
      const { rows } = await database.query(`select key, position, reason from "${schema}".skipped_event`)
      expect(rows).toEqual([{ key: 'a', position: 2, reason: 'entered twice' }])
      await stopped(running)
      const again = await started(balances())
      await ledger.append('a', ['Deposited', { amount: 2 }])
      await again.settle()
      expect((await handleOf(again).verify()).differences).toEqual([])
    })

    test('what was skipped in one process is skipped in every other, until the log is accepted anew', async () => {
      const first = await started(balances())
      const second = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 13 }], ['Deposited', { amount: 1 }])
      await first.settle()
      await second.settle()
      await handleOf(second).skip('a', 'entered twice')
      for (const worker of [first, second]) expect((await handleOf(worker).verify()).differences).toEqual([])
      await stopped(first)
      // The rows are gone: who folds them again leaves out what another process was told to.
      await database.query(`delete from "${schema}".balances_v1`)
      expect((await handleOf(second).repair()).differences).toHaveLength(1)
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 1 } })
      await handleOf(second).accept()
      await second.settle()
      expect(await handleOf(second).parked()).toMatchObject([{ key: 'a', position: 2 }])
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 0 } })
    })

    test('rows in a store that were folded from another log are refused by name, and written over when that is accepted', async () => {
      const store = memory()
      const first = await started(balances({ store }))
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 1 }])
      await first.settle()
      await stopped(first)
      // Another application with the same names, and a log of its own.
      await database.query(`drop schema "${schema}" cascade`)
      ledger = await openLedger(database, schema)
      await ledger.append('b', ['Opened', { owner: 'bob' }], ['Deposited', { amount: 2 }], ['Deposited', { amount: 2 }])
      const second = await started(balances({ store }))
      await waitUntil(async () => (await statusOf(second))?.state === 'stopped')
      expect((await statusOf(second))?.error).toMatch(/memory holds rows as version 1 of .*\.balances that were not folded from this log/)
      await handleOf(second).accept()
      await second.settle()
      expect((await statusOf(second))?.state).toBe('live')
      expect((await handleOf(second).verify()).differences).toEqual([])
      expect((await store.load(second.own[0]?.model as never, ['a'])).rows).toEqual([])
    })

    test('drift is found, whatever its kind, and mended', async () => {
      const running = await started([balances(), totals])
      for (const stream of ['a', 'b', 'c', 'd']) await ledger.append(stream, ['Opened', { owner: stream }], ['Deposited', { amount: 5 }])
      await ledger.append('d', ['Closed', {}])
      await running.settle()
      const handle = handleOf(running)
      expect(await handle.verify()).toEqual({ readModel: 'balances', version: 1, keysChecked: 3, differences: [] })
      await database.query(`update "${schema}".balances_v1 set row = '{"owner": "a", "balance": 7}' where key = 'a';
        delete from "${schema}".balances_v1 where key = 'b';
        insert into "${schema}".balances_v1 values ('d', '{"owner": "d", "balance": 5}', 3, 1, array['x'])`)
      await database.query(`update "${schema}".totals_v1 set row = '{"events": 1, "amount": 1}' where key = 'deposits'`)
      const found = [
        { key: 'a', kind: 'different' },
        { key: 'b', kind: 'missing' },
        { key: 'd', kind: 'surplus' },
      ]
      const byKey = (x: { key: string }, y: { key: string }) => (x.key < y.key ? -1 : 1)
      expect((await handle.verify()).differences.toSorted(byKey)).toEqual(found)
      expect((await handle.verify({ sample: 100 })).differences.toSorted(byKey)).toEqual(found)
      const sums = handleOf(running, 'totals')
      expect((await sums.verify({ sample: 10 })).differences).toEqual([{ key: 'deposits', kind: 'different' }])
      expect((await handle.repair()).differences).toHaveLength(3)
      await sums.rebuild()
      expect((await handle.verify()).differences).toEqual([])
      expect((await sums.verify()).differences).toEqual([])
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 5 }, b: { balance: 5 } })
      await ledger.append('b', ['Deposited', { amount: 1 }])
      await running.settle()
      expect(await ledger.rows('balances')).toMatchObject({ b: { balance: 6 } })
    })

    test('why a row is what it is, and what it was at a position or a time', async () => {
      const running = await started([balances(), totals])
      await ledger.append('a', ['Opened', { owner: 'ann' }])
      await ledger.append('b', ['Opened', { owner: 'bob' }], ['Deposited', { amount: 3 }])
      await ledger.append('a', ['Deposited', { amount: 5 }])
      await ledger.append('b', ['Closed', {}])
      await running.settle()
      const handle = handleOf(running)
      expect(await handle.why('a')).toMatchObject([
        { position: 1, type: 'Opened', before: undefined, after: { owner: 'ann', balance: 0 }, changed: ['owner', 'balance'] },
        { position: 4, type: 'Deposited', before: { balance: 0 }, after: { balance: 5 }, changed: ['balance'] },
      ])
      expect((await handleOf(running, 'totals').why('deposits')).map(({ position }) => position)).toEqual([3, 4])
      const past = handle.asOf({ position: 3 })
      expect(await past.get('a' as never)).toEqual({ owner: 'ann', balance: 0 })
      expect(await past.find({ orderBy: { owner: 'desc' } as never })).toEqual({
        items: [
          { owner: 'bob', balance: 3 },
          { owner: 'ann', balance: 0 },
        ],
        next: null,
      })
      const [, second] = await ledger.eventLog.read({ after: 0, limit: 2 })
      const then = handle.asOf({ time: second?.time ?? '' })
      expect(await then.get('b' as never)).toEqual({ owner: 'bob', balance: 3 })
      expect(await then.get('a' as never)).toEqual({ owner: 'ann', balance: 0 })
      expect(await handle.asOf({ position: 0 }).find()).toEqual({ items: [], next: null })
      await expect(handle.asOf({ position: 99 }).find()).rejects.toMatchObject({ code: 'usage' })
      await expect(handle.asOf({ time: 'soon' }).find()).rejects.toMatchObject({ code: 'usage' })
    })

    test('a sync projection: parked keys wait, retried or caught up it goes on with appends', async () => {
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 13 }])
      const running = await started(balances({ update: 'sync' }))
      await running.settle()
      const handle = handleOf(running)
      expect(await handle.parked()).toMatchObject([{ key: 'a', position: 2 }])
      await ledger.append('a', ['Deposited', { amount: 1 }])
      await ledger.append('b', ['Opened', { owner: 'bob' }])
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 0 }, b: { balance: 0 } })
      unlucky = false
      await handle.retry('a')
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 14 } })
      await ledger.append('a', ['Deposited', { amount: 1 }])
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 15 } })
      expect((await handle.verify()).differences).toEqual([])
    })

    test('a sync projection reaches the head while others write all the time, and a key is retried meanwhile', async () => {
      const streams = Array.from({ length: 12 }, (_, i) => `s${i}`)
      await ledger.fill([
        ...streams.map((stream) => [stream, 'Opened', { owner: stream }] as const),
        ...Array.from({ length: 1500 }, (_, i) => [streams[i % 11] ?? 's0', 'Deposited', { amount: 1 }] as const),
        ['s11', 'Deposited', { amount: 13 }],
      ])
      let writing = true
      const total = { appended: 0 }
      const writer = async (stream: string) => {
        while (writing) {
          const { status } = await ledger.append(stream, ['Deposited', { amount: 1 }])
          if (status === 'appended') total.appended++
        }
      }
      const writers = Promise.all(streams.map(writer))
      const running = await started(balances({ update: 'sync', keyed: true }))
      while (running.versions[0]?.state !== 'live') await running.settle()
      unlucky = false
      await handleOf(running).retry('s11')
      const reached = total.appended
      while (total.appended < reached + 100) await ledger.append('other', ['Opened', { owner: 'x' }])
      writing = false
      await writers
      const { rows: left } = await database.query(
        `select (select max(position) from "${schema}".event) - position as behind from "${schema}".checkpoint`,
      )
      expect(left).toEqual([{ behind: 0 }])
      expect(await ledger.rows('balances')).toMatchObject({ s11: { balance: expect.any(Number) } })
      const verified = await handleOf(running).verify()
      expect(verified.differences).toEqual([])
      expect(verified.keysChecked).toBeGreaterThan(11)
    })

    test('an append that was prepared while its key was parked does not touch the row when it is parked no more', async () => {
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 13 }])
      const running = await started(balances({ update: 'sync', keyed: true }))
      await running.settle()
      let between: (() => Promise<void>) | undefined = () => handleOf(running).skip('a', 'entered twice')
      const slow = await openLedger(database, schema, {
        companion: () => ({
          oneByOne: true,
          prepare: async (requests) => {
            const prepared = await running.companion.prepare(requests)
            const work = between
            between = undefined
            await work?.()
            return prepared
          },
        }),
      })
      expect(await slow.append('a', ['Deposited', { amount: 2 }])).toEqual({ status: 'stale' })
      expect(await slow.append('a', ['Deposited', { amount: 2 }])).toMatchObject({ status: 'appended' })
      expect(await ledger.rows('balances')).toEqual({ a: { owner: 'ann', balance: 2 } })
      expect((await handleOf(running).verify()).differences).toEqual([])
    })
  })
}
