import {
  BehindError,
  command,
  type Database,
  type Executed,
  headwater,
  InvalidInputError,
  query,
  silentLog,
  TokenError,
  type as typeOf,
  UnknownNameError,
  UsageError,
} from 'headwater'
import { manualClock } from 'headwater/testing'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { blogTables, postsView } from './process/blog.ts'
import { databases, freshSchema, lasting } from './support/databases.ts'

const renameUser = command('renameUser', {
  input: z.object({ id: z.int(), name: z.string() }),
  execute: async ({ id, name }, { sql }) => void (await sql`update users set name = ${name} where id = ${id}`),
})
const editPost = command('editPost', {
  input: z.object({ id: z.int(), body: z.string() }),
  execute: async ({ id, body }, { sql }) => void (await sql`update posts set body = ${body} where id = ${id}`),
})
const asyncPosts = postsView('async')
const post = query('post', {
  input: z.object({ id: z.int() }),
  reads: { posts: asyncPosts },
  execute: async ({ id }, { posts }) => (await posts.get(id)) ?? null,
})
const counted = query('counted', {
  input: z.object({}),
  reads: { posts: asyncPosts },
  execute: async (_input, { posts, sql }) => (await sql<{ n: number }>`select count(*) as n from ${posts}`)[0]?.n ?? 0,
})
const whoAsks = query('whoAsks', { input: z.object({}), reads: {}, execute: async (_input, { context }) => context.actor ?? null })

for (const target of databases) {
  describe.skipIf(target.skip)(`queries and tokens on ${target.name}`, () => {
    let database: Database
    let schema: string
    const undo: (() => Promise<unknown>)[] = []

    beforeEach(async () => {
      database = await target.open()
      schema = freshSchema()
      await database.query(blogTables)
      await database.query(`insert into users values (1, 'ann'); insert into posts values (1, 1, 'one'), (2, 1, 'two')`)
    })

    afterEach(async () => {
      for (const step of undo.splice(0).reverse()) await step()
      await database.query(`drop schema if exists "${schema}" cascade`)
      await database.close()
    })

    async function start() {
      const app = headwater({
        database: lasting(database),
        schema,
        commands: { renameUser, editPost },
        readModels: { asyncPosts },
        queries: { post, counted, whoAsks },
        log: silentLog,
      })
      undo.push(() => app.stop())
      await app.start()
      await app.settle()
      return app
    }

    /** Holds the view's workers, as another process would that is in the middle of a batch. */
    async function held(work: () => Promise<void>): Promise<void> {
      await database.query(`alter function "${schema}".drain(integer, boolean, xid8) rename to drain_held;
        create function "${schema}".drain(integer, boolean, xid8, out claimed integer, out keys integer, out written integer, out deleted integer, out parked integer, out horizon xid8)
        language sql as $$ select 0, 0, 0, 0, 0, '0'::xid8 $$`)
      try {
        await work()
      } finally {
        await database.query(
          `drop function "${schema}".drain(integer, boolean, xid8); alter function "${schema}".drain_held(integer, boolean, xid8) rename to drain;`,
        )
      }
    }

    test('a query with a token reads its own write', async () => {
      const app = await start()
      for (let i = 0; i < 20; i++) {
        const { token } = await app.execute('editPost', { id: 1, body: `edit ${i}` })
        expect((await app.query('post', { id: 1 }, { after: token, waitMs: 30_000 })).result?.body).toBe(`edit ${i}`)
      }
      const { token } = await app.execute('renameUser', { id: 1, name: 'anna' })
      expect((await app.query('post', { id: 2 }, { after: token, waitMs: 30_000 })).result?.author).toBe('anna')
    })

    test('what is not reached in time is an error that counts, unless an old answer is allowed', async () => {
      const app = await start()
      await held(async () => {
        const first = await app.execute('editPost', { id: 1, body: 'late' })
        const { token } = await app.execute('editPost', { id: 2, body: 'late' }, { after: first.token })
        const error = await app.query('post', { id: 1 }, { after: token, waitMs: 30 }).catch((caught: unknown) => caught)
        expect(error).toBeInstanceOf(BehindError)
        expect(error).toMatchObject({ code: 'behind', have: 0, want: 2 })
        expect((await app.query('post', { id: 1 }, { after: token, waitMs: 0, allowStale: true })).result?.body).toBe('one')
        expect((await app.query('post', { id: 1 })).result?.body).toBe('one')
        await expect(app.query('post', { id: 1 }, { latest: true, waitMs: 10 })).rejects.toThrow(BehindError)
        await expect(app.query('post', { id: 1 }, { maxStalenessMs: 0, waitMs: 10 })).rejects.toThrow(BehindError)
        expect((await app.query('post', { id: 1 }, { maxStalenessMs: 60_000 })).result?.body).toBe('one')
      })
      await app.settle()
      expect((await app.query('post', { id: 1 }, { latest: true, waitMs: 30_000 })).result?.body).toBe('late')
    })

    test('tokens add up, and drop what every read model holds', async () => {
      const app = await start()
      let last: Executed<unknown> | undefined
      await held(async () => {
        for (let i = 0; i < 40; i++)
          last = await app.execute('editPost', { id: 1 + (i % 2), body: `n ${i}` }, last ? { after: last.token } : {})
      })
      expect(last?.token.length ?? 0).toBeLessThan(600)
      const rows = await Promise.all([1, 2].map((id) => app.query('post', { id }, { after: last?.token ?? '', waitMs: 10_000 })))
      expect(rows.map(({ result }) => result?.body)).toEqual(['n 38', 'n 39'])
      const { token } = await app.execute('editPost', { id: 1, body: 'short again' }, { after: last?.token ?? '' })
      expect(token.length).toBeLessThan(80)
    })

    test('tokens that are garbage, of another generation, or ahead of the database are refused before anything is written', async () => {
      const app = await start()
      await expect(app.query('post', { id: 1 }, { after: 'garbage' })).rejects.toThrow(TokenError)
      await expect(app.execute('editPost', { id: 1, body: 'not written' }, { after: 'garbage' })).rejects.toMatchObject({
        code: 'malformed',
      })
      const other = Buffer.from('1.aaaaaaaaaaaa.1z.').toString('base64url')
      await expect(app.query('post', { id: 1 }, { after: other })).rejects.toMatchObject({ code: 'other_generation' })
      const { token } = await app.execute('editPost', { id: 2, body: 'written' })
      const [, generation] = Buffer.from(token, 'base64url').toString().split('.')
      const ahead = Buffer.from(`1.${generation}.zzzzzzzz.`).toString('base64url')
      await expect(app.query('post', { id: 1 }, { after: ahead })).rejects.toMatchObject({ code: 'ahead' })
      expect((await app.query('post', { id: 1 }, { latest: true, waitMs: 30_000 })).result?.body).toBe('one')
    })

    test('a parked key is an error under a token, and the last good row without', async () => {
      const app = await start()
      const { token } = await app.execute('editPost', { id: 2, body: 'other' })
      await app.settle()
      await database.query(
        `insert into "${schema}".parked (view, key, reason, sql_state, xids) select id, '1', 'division by zero', '22012', '{}' from "${schema}".view`,
      )
      await expect(app.query('post', { id: 1 }, { after: token })).rejects.toMatchObject({ code: 'parked' })
      expect((await app.query('post', { id: 1 })).result?.body).toBe('one')
      expect((await app.query('post', { id: 2 }, { after: token, waitMs: 30_000 })).result?.body).toBe('other')
      await app.readModel('posts_view').retry()
      await app.settle()
      expect((await app.query('post', { id: 1 }, { after: token, waitMs: 30_000 })).result?.body).toBe('one')
    })

    test('every answer says how old it may be', async () => {
      const app = await start()
      expect((await app.query('post', { id: 1 })).lagMs).toBe(0)
      await held(async () => {
        await app.execute('editPost', { id: 1, body: 'late' })
        await expect.poll(async () => (await app.query('post', { id: 1 })).lagMs, { timeout: 20_000 }).toBeGreaterThan(100)
      })
    })

    test('a reader stands for its table in the sql template, and the context reaches the query', async () => {
      const app = await start()
      expect((await app.query('counted', {})).result).toBe(2)
      expect((await app.query('whoAsks', {}, { context: { actor: 'ann' } })).result).toBe('ann')
    })

    test('bad calls are typed errors', async () => {
      const app = await start()
      await expect(app.query('nonsense' as never, {} as never)).rejects.toThrow(UnknownNameError)
      await expect(app.execute('nonsense' as never, {} as never)).rejects.toThrow(UnknownNameError)
      expect(() => app.readModel('nonsense')).toThrow(UnknownNameError)
      await expect(app.query('post', { id: 'x' } as never)).rejects.toThrow(InvalidInputError)
      await expect(app.query('post', { id: 1 }, { waitMs: -1 })).rejects.toThrow(UsageError)
      await expect(app.query('post', { id: 1 }, { latest: true, maxStalenessMs: 3 })).rejects.toThrow(UsageError)
      const inside = command('inside', { input: typeOf<object>(), execute: async () => (await app.query('post', { id: 1 })).result })
      const other = headwater({ database, schema, commands: { inside }, log: silentLog })
      await expect(other.execute('inside', {})).rejects.toThrow(UsageError)
      await other.start()
      await expect(other.execute('inside', {})).rejects.toThrow(/inside the command/)
    })

    test('keys of reactions are not for callers', async () => {
      const app = await start()
      const sent = app.execute('editPost', { id: 1, body: 'mine' }, { idempotencyKey: 'reaction/remind/3f/0' })
      await expect(sent).rejects.toThrow(/idempotencyKey: begins with "reaction\/", as only the keys of reactions do/)
      await expect(app.execute('editPost', { id: 1, body: 'mine' }, { idempotencyKey: 'my reaction/1' })).resolves.toBeDefined()
    })

    test('another database under the same schema begins a new generation: old tokens are refused and every row is selected again', async () => {
      const app = await start()
      const { token } = await app.execute('editPost', { id: 1, body: 'before' })
      await app.settle()
      await database.query(
        `update "${schema}".generation set identity = '{"system": "1"}'; update "${schema}".posts_view_v1 set body = 'of the past'`,
      )
      const restored = await start()
      await expect(restored.query('post', { id: 1 }, { after: token })).rejects.toMatchObject({ code: 'other_generation' })
      expect((await restored.query('post', { id: 1 }, { latest: true, waitMs: 30_000 })).result?.body).toBe('before')
    })

    test('a query that waits is not woken too early by time standing still', async () => {
      const clock = manualClock()
      const app = headwater({
        database: lasting(database),
        schema,
        clock,
        commands: { editPost },
        readModels: { asyncPosts },
        queries: { post },
        log: silentLog,
      })
      undo.push(() => app.stop())
      await app.start()
      await app.settle()
      const { token } = await app.execute('editPost', { id: 1, body: 'by hand' })
      await app.settle()
      expect((await app.query('post', { id: 1 }, { after: token })).result?.body).toBe('by hand')
    })
  })
}
