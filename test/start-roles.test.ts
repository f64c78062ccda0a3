import {
  type Database,
  type Headwater,
  headwater,
  query,
  type Role,
  type StartOptions,
  silentLog,
  type as typeOf,
  UsageError,
} from 'headwater'
import { memory } from 'headwater/memory'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cardsView, cardTables } from './process/stored-views.ts'
import { controlled } from './support/controlled-store.ts'
import { databases, freshSchema, lasting } from './support/databases.ts'

/** What `start()` is given by code that no compiler has seen, and what it says then. */
const refused: readonly (readonly [given: unknown, told: RegExp])[] = [
  [{ roles: [] }, /this one is empty/],
  [{ roles: ['writer'] }, /"writer" is none/],
  [{ roles: ['queries', 'Queries', 7] }, /"Queries", 7 is none/],
  [{ roles: [undefined] }, /undefined is none/],
  [{ roles: ['queries', undefined] }, /undefined is none/],
  [{ roles: new Array(1) }, /undefined is none/],
  [{ roles: [null] }, /null is none/],
  [{ roles: [['queries']] }, /a list is none/],
  [{ roles: 'commands' }, /"commands" is no list/],
  [{ roles: null }, /null is no list/],
  [{ roles: {} }, /an object is no list/],
  [{ roles: new Set(['queries']) }, /an object is no list/],
  [{ roles: 0 }, /0 is no list/],
  [null, /null is none/],
  ['queries', /"queries" is none/],
  [['queries'], /a list is none/],
]

for (const target of databases) {
  describe.skipIf(target.skip)(`roles, on ${target.name}`, () => {
    let database: Database
    let schema: string
    const apps: Headwater[] = []

    beforeEach(async () => {
      database = await target.open()
      schema = freshSchema()
    })

    afterEach(async () => {
      for (const app of apps.splice(0)) await app.stop()
      await database.query(`drop schema if exists "${schema}" cascade`)
      await database.close()
    })

    function made(options: Omit<Parameters<typeof headwater>[0], 'database'>): Headwater {
      const app = headwater({ ...options, database: lasting(database), schema, log: silentLog, pollIntervalMs: 10 }) as unknown as Headwater
      apps.push(app)
      return app
    }

    async function started(options: Omit<Parameters<typeof headwater>[0], 'database'>, roles: readonly Role[]): Promise<Headwater> {
      const app = made(options)
      await app.start({ roles })
      return app
    }

    test('roles: a process does what it is there for and refuses the rest', async () => {
      await database.query(cardTables)
      const inner = memory()
      const [store, working] = [controlled(inner), controlled(inner)]
      const cards = cardsView({ store })
      const queries = {
        card: query('card', {
          input: typeOf<{ id: number }>(),
          reads: { cards },
          execute: async ({ id }, { cards }) => await cards.get(id),
        }),
      }
      const idle = await started({ readModels: { cards }, queries }, ['commands', 'queries'])
      for (let i = 0; i < 20; i++) {
        expect((await idle.readModel('cards').status()).state).toBe('building')
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      await expect(idle.query('card' as never, { id: 1 } as never)).rejects.toMatchObject({ code: 'building' })
      const worker = await started({ readModels: { cards: cardsView({ store: working }) }, queries }, ['projections'])
      await expect(worker.query('card' as never, { id: 1 } as never)).rejects.toThrow(/without the role/)
      await expect(worker.execute('any' as never, {} as never)).rejects.toThrow(/without the role/)
      await idle.settle()
      await database.query(`update cards set title = 'changed' where id = 1`)
      expect((await idle.query('card' as never, { id: 1 } as never, { latest: true })).result).toMatchObject({ title: 'changed' })
      expect(working.written.length).toBeGreaterThan(1)
      expect(store.written).toEqual([])
    })

    test('whatever is no list of roles is refused, and said what is allowed; nothing has begun then', async () => {
      for (const [given, told] of refused) {
        const app = made({})
        const failed = await app.start(given as StartOptions).then(
          () => undefined,
          (error: unknown) => error,
        )
        expect(failed, String(told)).toBeInstanceOf(UsageError)
        expect((failed as Error).message).toMatch(told)
        expect((failed as Error).message).toMatch(/commands, projections, queries|roles: \['queries'\]/)
      }
      expect((await database.query('select from pg_catalog.pg_namespace where nspname = $1', [schema])).rows).toEqual([])
    })

    test('a process that names no roles has all of them, and one may be named twice', async () => {
      const ask = query('one', { input: typeOf<object>(), reads: {}, execute: async () => 1 })
      for (const given of [undefined, {}, { roles: undefined }, { roles: ['queries', 'queries'] }]) {
        const app = made({ queries: { ask } })
        await app.start(given as StartOptions)
        expect(await app.query('one' as never, {} as never)).toMatchObject({ result: 1 })
      }
    })
  })
}
