import type { Database } from 'headwater'
import { beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { projection } from '../../src/projection/projection.ts'
import { databases } from '../support/databases.ts'
import { account, type Ledger } from '../support/ledger.ts'
import { projectionSuite } from '../support/projection-suite.ts'

/** A row for each part of a stream's name: `x+y` counts for `x` and for `y`. */
const sums = projection('sums', {
  from: [account],
  row: z.object({ sum: z.int() }),
  key: ({ stream }) => stream.split('+'),
  on: { Deposited: (row, { data }) => ({ sum: (row?.sum ?? 0) + data.amount }) },
  update: 'sync',
})

for (const target of databases) {
  describe.skipIf(target.skip)(`sync projections of a process on ${target.name}`, () => {
    let database: Database
    let schema: string
    let ledger: Ledger
    const { opened, started, handleOf } = projectionSuite(target, () => ledger)

    beforeEach(() => {
      ;({ database, schema, ledger } = opened())
    })

    const deposit = async (stream: string) => (await ledger.append(stream, ['Deposited', { amount: 1 }])).status

    test('a request that stands on a refused one by way of another is refused with both', async () => {
      const running = await started(sums)
      await running.settle()
      expect(await deposit('x+y')).toBe('appended')
      // As if another process had written the row since this one did.
      await database.query(`update "${schema}".sums_v1 set row = '{"sum": 5}', position = 0 where key = 'x'`)
      expect(await Promise.all(['x', 'x+y', 'y'].map(deposit))).toEqual(['stale', 'stale', 'stale'])
      expect(await ledger.rows('sums')).toEqual({ x: { sum: 5 }, y: { sum: 1 } })
      expect(await Promise.all(['x', 'x+y', 'y'].map(deposit))).toEqual(['appended', 'appended', 'appended'])
      expect(await ledger.rows('sums')).toEqual({ x: { sum: 7 }, y: { sum: 3 } })
    })

    test('many at once over keys that they share, with rows that changed meanwhile: each row is the fold of its events', async () => {
      const running = await started(sums)
      await running.settle()
      const streams = ['x', 'x+y', 'y', 'y+z', 'z', 'z+x', 'x+y+z']
      for (let round = 0; round < 12; round++) {
        await Promise.all(streams.map(deposit))
        // What the process remembers of one row is not what is stored any more, although its events are the same.
        const key = ['x', 'y', 'z'][round % 3]
        await database.query(`update "${schema}".sums_v1 set position = position - 1 where key = $1`, [key])
        await Promise.all(streams.map(deposit))
        await running.settle()
        expect((await handleOf(running, 'sums').verify()).differences).toEqual([])
      }
    })
  })
}
