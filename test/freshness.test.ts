import { BehindError, command, type Database, headwater, query, silentLog, type as typeOf } from 'headwater'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { mergedToken } from '../src/app/written-token.ts'
import { lockClass } from '../src/database/migrate.ts'
import { decodeToken } from '../src/message/token.ts'
import { blogTables, expectedPosts, postsView, storedPosts } from './process/blog.ts'
import { databases, freshSchema, lasting, postgresUrl } from './support/databases.ts'

for (const target of databases) {
  describe.skipIf(target.skip)(`how fresh an answer is on ${target.name}`, () => {
    let database: Database
    let schema: string
    const stops: (() => Promise<void>)[] = []

    beforeEach(async () => {
      database = await target.open()
      schema = freshSchema()
      await database.query(blogTables)
      await database.query(`insert into users values (1, 'ann'), (2, 'bob'); insert into posts values (1, 1, 'first'), (2, 2, 'second')`)
    })

    afterEach(async () => {
      for (const stop of stops.splice(0).reverse()) await stop()
      await database.query(`drop schema if exists "${schema}" cascade`)
      await database.close()
    })

    test('a write that is committed gets its token, though nobody can tell any more what read models hold', async () => {
      const gone = await target.open()
      await gone.close()
      const write = (xid: string) => ({ xid, fanOut: false })
      const older = { generation: 'ab', writes: [write('5')], upTo: undefined, position: 3 }
      const token = await mergedToken({ database: gone, schema, replicas: undefined }, 'ab', { writes: [write('7')], position: 0 }, older)
      expect(decodeToken(token)).toMatchObject({ writes: [write('5'), write('7')], position: 3 })
    })

    /** An application on the shared database, level with it, that looks for changes only when it is woken. */
    async function started() {
      const view = postsView('async')
      const app = headwater({
        database: lasting(database),
        schema,
        readModels: { view },
        commands: {
          rename: command('rename', {
            input: typeOf<{ id: number; name: string }>(),
            execute: async ({ id, name }, { sql }) => void (await sql`update users set name = ${name} where id = ${id}`),
          }),
        },
        queries: {
          authors: query('authors', {
            input: typeOf<object>(),
            reads: { posts: view },
            execute: async (_input, { posts }) => (await posts.find()).items.map(({ author }) => author),
          }),
        },
        log: silentLog,
        pollIntervalMs: 3_600_000,
      })
      stops.push(() => app.stop())
      await app.start()
      await app.settle()
      return app
    }

    /** Keeps every worker from the view until the function it resolves to is called: as a worker that cannot keep up. */
    async function held(): Promise<() => Promise<void>> {
      const holder = new pg.Client({ connectionString: postgresUrl })
      await holder.connect()
      stops.push(() => holder.end().catch(() => undefined))
      const { rows } = await database.query<{ id: number }>(`select id from "${schema}".view`)
      await holder.query('select pg_advisory_lock($1::int, $2::int)', [lockClass(schema) + 1, rows[0]?.id])
      return () => holder.end()
    }

    test('under a token an answer holds that write, and with `latest` every write, also of strangers', async () => {
      const app = await started()
      const { token } = await app.execute('rename', { id: 1, name: 'anna' })
      expect((await app.query('authors', {}, { after: token, waitMs: 30_000 })).result).toEqual(['anna', 'bob'])
      await database.query(`update users set name = 'bobby' where id = 2`)
      expect((await app.query('authors', {}, { latest: true, waitMs: 30_000 })).result).toEqual(['anna', 'bobby'])
      expect((await app.query('authors', {}, { maxStalenessMs: 0, waitMs: 30_000 })).result).toEqual(['anna', 'bobby'])
    })

    test('a token given to the next command comes back covering both', async () => {
      const app = await started()
      const first = await app.execute('rename', { id: 1, name: 'anna' })
      const second = await app.execute('rename', { id: 2, name: 'bobby' }, { after: first.token })
      expect((await app.query('authors', {}, { after: second.token, waitMs: 30_000 })).result).toEqual(['anna', 'bobby'])
    })

    test.skipIf(target.name === 'pglite')(
      'what is not reached in time is an error that counts, unless a stale answer is allowed',
      async () => {
        const app = await started()
        const release = await held()
        const { token } = await app.execute('rename', { id: 1, name: 'anna' })
        const { token: both } = await app.execute('rename', { id: 2, name: 'bobby' }, { after: token })
        for (const demand of [{ after: token }, { latest: true }, { maxStalenessMs: 0 }] as const) {
          const failed = await app.query('authors', {}, { ...demand, waitMs: 20 }).catch((error: unknown) => error)
          expect(failed).toBeInstanceOf(BehindError)
          expect(failed).toMatchObject({ code: 'behind', have: 0, want: 1 })
        }
        await expect(app.query('authors', {}, { after: both, waitMs: 0 })).rejects.toMatchObject({ have: 0, want: 2 })
        expect((await app.query('authors', {}, { after: token, waitMs: 0, allowStale: true })).result).toEqual(['ann', 'bob'])
        const waiting = app.query('authors', {}, { after: both, waitMs: 30_000 })
        await release()
        expect((await waiting).result).toEqual(['anna', 'bobby'])
      },
    )

    test('demands that contradict each other, and a token that is none, are refused', async () => {
      const app = await started()
      await expect(app.query('authors', {}, { latest: true, maxStalenessMs: 5 })).rejects.toMatchObject({ code: 'usage' })
      await expect(app.query('authors', {}, { after: 'nonsense' })).rejects.toMatchObject({ code: 'malformed' })
      await expect(app.execute('rename', { id: 1, name: 'x' }, { after: 'nonsense' })).rejects.toMatchObject({ code: 'malformed' })
      expect((await database.query('select name from users where id = 1')).rows).toEqual([{ name: 'ann' }])
    })

    test('a database that is not the one it was begins a generation: older tokens are refused, every row is selected again', async () => {
      const app = await started()
      const { token } = await app.execute('rename', { id: 1, name: 'anna' })
      await app.settle()
      await app.stop()
      // As after a restore: another identity, and a read model without the marks of what was lost.
      await database.query(`update "${schema}".generation set identity = identity || '{"database": "another"}'`)
      await database.query(`update "${schema}".posts_view_v1 set author = 'lost'`)
      const again = await started()
      expect(await storedPosts(database, schema)).toEqual(await expectedPosts(database))
      await expect(again.query('authors', {}, { after: token })).rejects.toMatchObject({ code: 'other_generation' })
      await expect(again.execute('rename', { id: 1, name: 'x' }, { after: token })).rejects.toMatchObject({ code: 'other_generation' })
      const { token: fresh } = await again.execute('rename', { id: 1, name: 'annie' })
      expect((await again.query('authors', {}, { after: fresh, waitMs: 30_000 })).result).toEqual(['annie', 'bob'])
    })
  })
}
