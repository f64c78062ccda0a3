import { randomUUID } from 'node:crypto'
import type { Database } from 'headwater'
import { beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { locateProjection } from '../../src/projection/locate.ts'
import { projection } from '../../src/projection/projection.ts'
import { balances } from '../support/balances.ts'
import { databases } from '../support/databases.ts'
import { account, type Ledger } from '../support/ledger.ts'
import { projectionSuite } from '../support/projection-suite.ts'

for (const target of databases) {
  describe.skipIf(target.skip)(`the life of a projection on ${target.name}`, () => {
    let database: Database
    let schema: string
    let ledger: Ledger
    const { opened, started, stopped, statusOf, handleOf } = projectionSuite(target, () => ledger)

    beforeEach(() => {
      ;({ database, schema, ledger } = opened())
    })

    test('pause and resume', async () => {
      const running = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }])
      await running.settle()
      const handle = handleOf(running)
      await handle.pause()
      await ledger.append('a', ['Deposited', { amount: 1 }])
      await running.settle()
      expect(await handle.status()).toMatchObject({ state: 'paused', pending: 1 })
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 0 } })
      expect(locateProjection(running, 'balances').state).toBe('stopped')
      await handle.resume()
      await running.settle()
      expect(await handle.status()).toMatchObject({ state: 'live', pending: 0 })
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 1 } })
      await expect(handle.resume()).rejects.toMatchObject({ code: 'usage' })
    })

    test('an event that this code does not know: it stops at it, and a process that knows it goes on', async () => {
      const running = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }])
      await database.query(
        `insert into "${schema}".event values (2, 'account-a', 2, $1, 'Frozen', 1, '{}', '{}', clock_timestamp()),
         (3, 'account-a', 3, $2, 'Deposited', 1, '{"amount": 2}', '{}', clock_timestamp())`,
        [randomUUID(), randomUUID()],
      )
      await running.settle()
      expect(await statusOf(running)).toMatchObject({
        state: 'stopped',
        error: expect.stringMatching(/position 2: account has an event Frozen/),
      })
      expect(await ledger.rows('balances_v1')).toEqual({ a: { owner: 'ann', balance: 0 } })
      // Its range is given back after it stopped.
      const range = async () => (await database.query(`select position, owner from "${schema}".checkpoint`)).rows
      await expect.poll(range).toEqual([{ position: 1, owner: null }])
      const knowing = { ...account, schemas: { ...account.schemas, Frozen: account.schemas.Closed }, '~read': (event: never) => event }
      const newer = projection('balances', {
        ...(balances()['~projection'] as object),
        from: [knowing],
        key: undefined,
        store: undefined,
      } as never)
      const second = await started(newer)
      await second.settle()
      expect(await statusOf(second)).toMatchObject({ state: 'live', error: undefined })
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 2 } })
    })

    test('a key function that fails stops the read model, and nothing is skipped', async () => {
      const broken = projection('broken', {
        from: [account],
        row: z.object({ n: z.int() }),
        key: (event) => (event.type === 'Deposited' && event.data.amount === 7 ? '' : event.stream),
        on: { Opened: () => ({ n: 0 }), Deposited: (row, { data }) => ({ n: (row?.n ?? 0) + data.amount }) },
      })
      const running = await started([broken, balances()])
      await ledger.append(
        'a',
        ['Opened', { owner: 'ann' }],
        ['Deposited', { amount: 1 }],
        ['Deposited', { amount: 7 }],
        ['Deposited', { amount: 1 }],
      )
      await running.settle()
      expect(await statusOf(running, 'broken')).toMatchObject({ error: expect.stringMatching(/key of Deposited at position 3/) })
      expect(await ledger.rows('broken_v1')).toEqual({ a: { n: 1 } })
      expect(await ledger.rows('balances')).toMatchObject({ a: { balance: 9 } })
    })

    test('a log that is not the one it was folded from: it stops, serves nothing, and goes on when a person accepts', async () => {
      const first = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      await ledger.append('a', ['Deposited', { amount: 6 }])
      await first.settle()
      await stopped(first)
      await database.query(`delete from "${schema}".event where position = 3`)
      await ledger.append('a', ['Deposited', { amount: 100 }])
      await ledger.append('b', ['Opened', { owner: 'bob' }])
      const second = await started(balances())
      await second.settle()
      expect(await statusOf(second)).toMatchObject({ state: 'stopped', error: expect.stringMatching(/at position 3 .*accept\(\)/) })
      expect(() => locateProjection(second, 'balances')).toThrow(/restored or replaced/)
      await handleOf(second).accept()
      expect(() => locateProjection(second, 'balances')).toThrow(/folded anew/)
      await second.settle()
      expect(await statusOf(second)).toMatchObject({ state: 'live', error: undefined })
      expect(await ledger.rows('balances')).toEqual({ a: { owner: 'ann', balance: 105 }, b: { owner: 'bob', balance: 0 } })
    })

    test('a checkpoint ahead of the log', async () => {
      const first = await started(balances())
      await ledger.append('a', ['Opened', { owner: 'ann' }], ['Deposited', { amount: 5 }])
      await first.settle()
      await stopped(first)
      await database.query(`delete from "${schema}".event where position = 2`)
      const second = await started(balances())
      await second.settle()
      expect(await statusOf(second)).toMatchObject({
        state: 'stopped',
        error: expect.stringMatching(/position 2, which the log does not have/),
      })
    })

    test('ranges of keys are folded on their own, and joined again', async () => {
      const running = await started([balances({ keyed: true })])
      for (let i = 0; i < 30; i++) await ledger.append(`s${i}`, ['Opened', { owner: 'x' }], ['Deposited', { amount: i }])
      await running.settle()
      const handle = handleOf(running)
      await handle.divide(4)
      for (let i = 0; i < 30; i++) await ledger.append(`s${i}`, ['Deposited', { amount: 1 }])
      await running.settle()
      const { rows } = await database.query(`select first, last, position from "${schema}".checkpoint order by 1`)
      expect(rows).toEqual([0, 16, 32, 48].map((first) => ({ first, last: first + 15, position: 90 })))
      expect((await handle.verify()).differences).toEqual([])
      await handle.divide(1)
      await ledger.append('s0', ['Deposited', { amount: 1 }])
      await running.settle()
      expect((await database.query(`select first, last, position from "${schema}".checkpoint`)).rows).toEqual([
        { first: 0, last: 63, position: 91 },
      ])
      expect((await handle.verify()).differences).toEqual([])
    })
  })
}
