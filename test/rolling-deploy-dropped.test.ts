import {
  type Clock,
  type Database,
  type Headwater,
  headwater,
  materializedView,
  projection,
  type QueryOptions,
  query,
  type Store,
  silentLog,
  systemClock,
  type as typeOf,
} from 'headwater'
import { memory } from 'headwater/memory'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { commands, counter } from './process/counters.ts'
import { databases, freshSchema, lasting } from './support/databases.ts'

/** The same application in two releases: the second tells everything tenfold. */
function release(factor: 1 | 10, where: { readonly store?: Store }) {
  const readModels = {
    totals: projection('totals', {
      from: [counter],
      row: typeOf<{ total: number }>(),
      on: { Counted: (row, { data }) => ({ total: (row?.total ?? 0) + data.by * factor }) },
      version: factor,
      ...where,
    }),
    prices: materializedView('prices_now', {
      row: typeOf<{ id: string; price: number }>(),
      key: 'id',
      select: `select id, price * ${factor} as price from prices`,
      changedBy: { prices: 'id' },
      ...where,
    }),
  }
  const queries = {
    total: query('total', {
      input: typeOf<{ id: string }>(),
      reads: { totals: readModels.totals },
      execute: async ({ id }, { totals }) => (await totals.get(id))?.total,
    }),
    price: query('price', {
      input: typeOf<{ id: string }>(),
      reads: { prices: readModels.prices },
      execute: async ({ id }, { prices }) => (await prices.get(id))?.price,
    }),
  }
  return { readModels, queries, commands: { count: commands.count } }
}

/** For a process that never finds that it is time to look which versions there are. */
const standing: Clock = { now: () => 0, sleep: (ms, signal) => systemClock.sleep(ms, signal) }

for (const target of databases) {
  describe.skipIf(target.skip)(`a release whose versions were dropped, on ${target.name}`, { timeout: 120_000 }, () => {
    let database: Database
    let schema: string
    const apps: Pick<Headwater, 'stop'>[] = []

    beforeEach(async () => {
      database = await target.open()
      schema = freshSchema()
      await database.query(`create table prices (id text primary key, price int not null); insert into prices values ('a', 7)`)
    })

    afterEach(async () => {
      for (const app of apps.splice(0)) await app.stop()
      await database.query(`drop schema if exists "${schema}" cascade`)
      await database.close()
    })

    function application(factor: 1 | 10, where: { readonly store?: Store }, options: { clock?: Clock; rollbackWindowMs?: number } = {}) {
      const app = headwater({
        database: lasting(database),
        schema,
        log: silentLog,
        pollIntervalMs: 10,
        ...release(factor, where),
        ...options,
      })
      apps.push(app)
      return app
    }

    async function versions(): Promise<readonly number[]> {
      const { rows } = await database.query<{ version: number }>(
        `select version from "${schema}".view union all select version from "${schema}".projection order by 1`,
      )
      return rows.map(({ version }) => version)
    }

    test.each(['the write database', 'another store'])('answers from what is live, whatever it last saw, in %s', async (place) => {
      const where = place === 'another store' ? { store: memory() } : {}
      const first = application(1, where)
      await first.start()
      const { token } = await first.execute('count', { id: 'a', by: 3 })
      await first.settle()
      const asking = [1, 2, 3].map(() => application(1, where, { clock: standing }))
      for (const app of asking) {
        await app.start({ roles: ['queries'] })
        expect((await app.query('total', { id: 'a' })).result).toBe(3)
      }
      await first.stop()
      const second = application(10, where, { rollbackWindowMs: 0 })
      await second.start()
      await second.settle()
      await expect.poll(versions, { timeout: 30_000 }).toEqual([2, 10])
      const demands: readonly QueryOptions[] = [{}, { after: token }, { latest: true }]
      for (const [i, options] of demands.entries()) {
        expect((await asking[i]?.query('total', { id: 'a' }, options))?.result).toBe(30)
        expect((await asking[i]?.query('price', { id: 'a' }, options))?.result).toBe(70)
      }
    })
  })
}
