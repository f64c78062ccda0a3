import { aggregate, type Database, headwater, projection, query, silentLog, type } from 'headwater'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { databases, freshSchema, lasting } from '../support/databases.ts'
import { waitUntil } from '../support/wait.ts'

interface Totals {
  readonly total: number
}

const counter = aggregate('counter', {
  events: { Counted: type<{ by: number }>() },
  initialState: () => ({}),
  evolve: { Counted: (state) => state },
})
const count = counter.command('count', {
  input: type<{ id: string; by: number }>(),
  stream: ({ id }) => id,
  decide: (_state, { by }, { events }) => [events.Counted({ by })],
})

for (const target of databases) {
  for (const update of ['async', 'sync'] as const) {
    describe.skipIf(target.skip)(`the table of a projection (${update}) is gone, on ${target.name}`, () => {
      let database: Database
      let schema: string
      const totals = projection('totals', {
        from: [counter],
        row: type<Totals>(),
        update,
        on: { Counted: (row, { data }) => ({ total: (row?.total ?? 0) + data.by }) },
      })
      const total = query('total', {
        input: type<{ id: string }>(),
        reads: { totals },
        execute: async ({ id }, reads) => (await reads.totals.get(id))?.total,
      })
      let app: ReturnType<typeof opened>

      const opened = () =>
        headwater({
          database: lasting(database),
          schema,
          log: silentLog,
          pollIntervalMs: 10,
          commands: { count },
          readModels: { totals },
          queries: { total },
        })

      beforeEach(async () => {
        database = await target.open()
        schema = freshSchema('lost')
        app = opened()
        await app.start()
      })

      afterEach(async () => {
        await app.uninstall()
        await database.close()
      })

      test.each([false, true])('it is folded anew by itself, and has its public name again; started anew: %s', async (restarted) => {
        for (const by of [1, 2]) await app.execute('count', { id: 'k', by })
        await app.execute('count', { id: 'other', by: 5 })
        await app.settle()
        if (restarted) await app.stop()
        await database.query(`drop table ${schema}.totals_v1 cascade`)
        if (restarted) {
          app = opened()
          await app.start()
        }
        // Nobody is answered from a part of the rows meanwhile.
        const answers = new Set<unknown>()
        await waitUntil(async () => {
          // A sync projection's own append fails as long as the table is not there.
          await app.execute('count', { id: 'other', by: 0 }).catch(() => undefined)
          const answer = await app.query('total', { id: 'k' }).then(
            ({ result }) => result,
            ({ code }: { code: string }) => code,
          )
          answers.add(answer)
          return answer === 3
        })
        for (const answer of answers) expect(['building', 3]).toContain(answer)
        await app.settle()
        expect((await app.query('total', { id: 'other' })).result).toBe(5)
        expect((await app.readModel('totals').verify()).differences).toEqual([])
        expect(await app.readModel('totals').status()).toMatchObject({ state: 'live', error: undefined })
        expect((await database.query(`select count(*)::int as n from ${schema}.totals`)).rows).toEqual([{ n: 2 }])
      })
    })
  }
}
