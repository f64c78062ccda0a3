import { type Database, silentLog } from 'headwater'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { projection } from '../../src/projection/projection.ts'
import type { Projection } from '../../src/projection/projection-definition.ts'
import { ProjectionWorker } from '../../src/projection/worker.ts'
import { databases, freshSchema } from '../support/databases.ts'
import { account, type Ledger, openLedger } from '../support/ledger.ts'

function balances(options: { version?: number; update?: 'sync' | 'async'; name?: string; factor?: number } = {}) {
  const { factor = 1 } = options
  return projection(options.name ?? 'balances', {
    from: [account],
    row: z.object({ owner: z.string(), balance: z.int() }),
    on: {
      Opened: (_none, { data }) => ({ owner: data.owner, balance: 0 }),
      Deposited: (row, { data }) => {
        if (data.amount === 13) throw new Error('unlucky')
        return row && { ...row, balance: row.balance + factor * data.amount }
      },
      Closed: () => null,
    },
    indexes: { byOwner: ['owner'] },
    update: options.update ?? 'async',
    version: options.version ?? 1,
  })
}

for (const target of databases) {
  describe.skipIf(target.skip)(`projections on ${target.name}`, () => {
    let database: Database
    let schema: string
    let ledger: Ledger
    let worker: ProjectionWorker | undefined
    const workers: ProjectionWorker[] = []

    beforeEach(async () => {
      database = await target.open()
      schema = freshSchema()
      worker = undefined
      ledger = await openLedger(database, schema, { companion: () => worker?.companion, onAppended: () => worker?.wake(), log: silentLog })
    })

    afterEach(async () => {
      for (const one of workers.splice(0)) await one.stop()
      await database.query(`drop schema if exists "${schema}" cascade`)
      await database.close()
    })

    async function started(...projections: readonly Projection<string, never, never, never>[]): Promise<ProjectionWorker> {
      worker = new ProjectionWorker(ledger.runtime, { projections: projections as never, pollIntervalMs: 20, rollbackWindowMs: 86_400_000 })
      workers.push(worker)
      await worker.start()
      return worker
    }

    const state = (one: ProjectionWorker, version = 1) => one.versions.find((each) => each.version === version)

    test('folds what is there and what comes, and switches to it when it is complete', async () => {
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      await ledger.append('b', ['Opened', { owner: 'bob' }], ['Closed', {}])
      const running = await started(balances() as never)
      await running.settle()
      expect(state(running)).toMatchObject({ state: 'live', active: true, version: 1 })
      expect(await ledger.rows('balances')).toEqual({ a: { owner: 'ann', balance: 5 } })
      await ledger.append('a', ['Deposited', { amount: 7 }])
      await ledger.append('b', ['Opened', { owner: 'bea' }])
      await running.settle()
      expect(await ledger.rows('balances')).toEqual({ a: { owner: 'ann', balance: 12 }, b: { owner: 'bea', balance: 0 } })
      const { rows } = await database.query(`select owner, balance from "${schema}".balances where key = 'a'`)
      expect(rows).toEqual([{ owner: 'ann', balance: 12 }])
    })

    test('a sync projection moves with appends, and is caught up when it was left behind', async () => {
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      const running = await started(balances({ update: 'sync' }) as never)
      await running.settle()
      expect(await ledger.rows('balances')).toEqual({ a: { owner: 'ann', balance: 5 } })
      await ledger.append('a', ['Deposited', { amount: 7 }], ['Deposited', { amount: 1 }])
      expect(await ledger.rows('balances')).toEqual({ a: { owner: 'ann', balance: 13 } })
      const outcomes = await Promise.all([
        ledger.append('x', ['Opened', { owner: 'x' }]),
        ledger.append('a', ['Deposited', { amount: 13 }]).catch((error: Error) => error.message),
        ledger.append('y', ['Opened', { owner: 'y' }], ['Deposited', { amount: 2 }]),
      ])
      expect(outcomes).toMatchObject([{ status: 'appended' }, 'unlucky', { status: 'appended' }])
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 13 }, x: { balance: 0 }, y: { balance: 2 } })
      await ledger.fill([['y', 'Deposited', { amount: 40 }]])
      await ledger.append('x', ['Deposited', { amount: 1 }])
      await running.settle()
      expect(await ledger.rows('balances')).toMatchObject({ x: { balance: 1 }, y: { balance: 42 } })
      await ledger.append('x', ['Deposited', { amount: 1 }])
      expect(await ledger.rows('balances')).toMatchObject({ x: { balance: 2 } })
    })

    test('a handler that fails parks its key and no other', async () => {
      const running = await started(balances() as never)
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 13 }], ['Deposited', { amount: 1 }])
      await ledger.append('b', ['Opened', { owner: 'bob' }], ['Deposited', { amount: 3 }])
      await running.settle()
      expect(await ledger.rows('balances')).toEqual({ a: { owner: 'ann', balance: 0 }, b: { owner: 'bob', balance: 3 } })
      const parked = await ledger.runtime.store.parked?.(running.own[0]?.model as never)
      expect(parked).toMatchObject([{ key: 'a', position: 2, reason: 'unlucky' }])
    })

    test('a raised version is built beside the live one, and replaces it', async () => {
      const first = await started(balances() as never)
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      await first.settle()
      const second = await started(balances({ version: 2, factor: 10 }) as never)
      await second.settle()
      expect(await ledger.rows('balances')).toEqual({ a: { owner: 'ann', balance: 50 } })
      await ledger.append('a', ['Deposited', { amount: 1 }])
      await second.settle()
      await first.settle()
      expect(await ledger.rows('balances_v1')).toEqual({ a: { owner: 'ann', balance: 6 } })
      expect(await ledger.rows('balances_v2')).toEqual({ a: { owner: 'ann', balance: 60 } })
      expect(state(second, 1)).toMatchObject({ state: 'previous', active: false })
      expect(state(second, 2)).toMatchObject({ state: 'live', active: true })
    })

    test('goes on from its checkpoint', async () => {
      const first = await started(balances() as never)
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      await first.settle()
      await first.stop()
      await ledger.append('a', ['Deposited', { amount: 5 }])
      const second = await started(balances() as never)
      await second.settle()
      expect(await ledger.rows('balances')).toEqual({ a: { owner: 'ann', balance: 10 } })
    })

    test('many events into many rows', async () => {
      const events = Array.from({ length: 12_000 }, (_, i) => {
        const stream = `s${i % 3000}`
        return i < 3000 ? ([stream, 'Opened', { owner: `o${i % 7}` }] as const) : ([stream, 'Deposited', { amount: i % 5 }] as const)
      })
      await ledger.fill(events)
      const running = await started(balances() as never)
      await running.settle()
      const rows = await ledger.rows('balances')
      expect(Object.keys(rows)).toHaveLength(3000)
      const sum = Object.values(rows).reduce<number>((total, row) => total + (row as { balance: number }).balance, 0)
      expect(sum).toBe(events.reduce((total, [, , data]) => total + ('amount' in data ? data.amount : 0), 0))
    })
  })
}
