import {
  command,
  type Database,
  type Headwater,
  headwater,
  type Log,
  type MaterializedView,
  materializedView,
  query,
  type Role,
  silentLog,
  type as typeOf,
} from 'headwater'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { systemClock } from '../src/internal/clock.ts'
import { readVersions, stopVersion } from '../src/materialized-view/registry.ts'
import { blogTables, expectedPosts, type PostRow, postsView, storedPosts } from './process/blog.ts'
import { databases, freshSchema, lasting } from './support/databases.ts'

for (const target of databases) {
  describe.skipIf(target.skip)(`the life of a read model on ${target.name}`, () => {
    let database: Database
    let schema: string
    const apps: Headwater[] = []

    beforeEach(async () => {
      database = await target.open()
      schema = freshSchema()
      await database.query(blogTables)
      await database.query(`insert into users values (1, 'ann'), (2, 'bob');
        insert into posts select i, 1 + i % 2, 'post ' || i from generate_series(1, 1200) i;
        insert into likes select i, 1 from generate_series(1, 600) i`)
    })

    afterEach(async () => {
      for (const app of apps.splice(0)) await app.stop()
      await database.query(`drop schema if exists "${schema}" cascade`)
      await database.close()
    })

    /** An application on the shared database, which outlives it. */
    async function started(
      view: MaterializedView | readonly MaterializedView[],
      { roles, ...options }: { rollbackWindowMs?: number; roles?: readonly Role[]; log?: Log } = {},
    ) {
      const views = (Array.isArray(view) ? view : [view]) as readonly MaterializedView[]
      const [first] = views
      if (!first) throw new Error('no view')
      const app = headwater({
        database: lasting(database),
        schema,
        readModels: Object.fromEntries(views.map((one) => [one.readModelName, one])),
        commands: {
          rename: command('rename', {
            input: typeOf<{ id: number; name: string }>(),
            execute: async ({ id, name }, { sql }) => void (await sql`update users set name = ${name} where id = ${id}`),
          }),
        },
        queries: {
          post: query('post', {
            input: typeOf<{ id: number }>(),
            reads: { posts: first as unknown as ReturnType<typeof postsView> },
            execute: async ({ id }, { posts }) => (await posts.get(id)) ?? null,
          }),
        },
        log: silentLog,
        ...options,
      })
      apps.push(app as unknown as Headwater)
      await app.start(roles ? { roles } : {})
      return app
    }

    const loud = (update: 'sync' | 'async' = 'async') =>
      materializedView('posts_view', {
        ...postsView(update)['~view'],
        row: typeOf<PostRow>(),
        key: 'id',
        select: `select p.id, upper(p.body) as body, u.name as author, (select count(*) from likes l where l.post_id = p.id) as likes from posts p join users u on u.id = p.author_id`,
        indexes: { byAuthor: ['author'] },
      }) as unknown as MaterializedView

    const plain = (update: 'sync' | 'async' = 'async') => postsView(update) as unknown as MaterializedView

    const versions = async () =>
      (await database.query<{ version: number; state: string }>(`select version, state from "${schema}".view order by version`)).rows

    test('its first build takes in what is written meanwhile', async () => {
      const app = await started(plain())
      await database.query(
        `update users set name = 'anna' where id = 1; delete from posts where id = 7; insert into posts values (5000, 1, 'new')`,
      )
      await app.settle()
      expect(await storedPosts(database, schema)).toEqual(await expectedPosts(database))
      const { state, rows, builtInMs, build } = await app.readModel('posts_view').status()
      expect({ state, rows, build, builtIn: typeof builtInMs }).toEqual({ state: 'live', rows: 1200, build: undefined, builtIn: 'number' })
    })

    test('a query before the first build is finished is told so, never shown half of it', async () => {
      await started(plain())
      await database.query(`update "${schema}".view set state = 'installing'`)
      const other = await started(plain())
      const answer = await other.query('post', { id: 1 }).catch((error: { code: string }) => error.code)
      expect(['building', 'live']).toContain(typeof answer === 'string' ? answer : 'live')
      await other.settle()
      expect((await other.query('post', { id: 1 })).result?.author).toBe('bob')
    })

    test('a changed definition is built beside the old one, switched to, and can be rolled back while both are kept', async () => {
      const first = await started(plain())
      await first.settle()
      const second = await started(loud())
      await second.settle()
      expect((await second.query('post', { id: 1 })).result?.body).toBe('POST 1')
      expect(await versions()).toEqual([
        { version: 1, state: 'previous' },
        { version: 2, state: 'live' },
      ])
      await database.query(`update posts set body = 'both' where id = 1`)
      await second.settle()
      await second.readModel('posts_view').rollback()
      expect((await second.query('post', { id: 1 })).result?.body).toBe('both')
      expect(await storedPosts(database, schema)).toEqual(await expectedPosts(database))
    })

    test('an old process that comes back builds nothing backwards and reads what is live', async () => {
      await (await started(plain())).settle()
      await (await started(loud())).settle()
      const old = await started(plain())
      await old.settle()
      expect(await versions()).toEqual([
        { version: 1, state: 'previous' },
        { version: 2, state: 'live' },
      ])
      expect((await old.query('post', { id: 1 })).result?.body).toBe('POST 1')
    })

    test('an old process drains what a newer one builds, and neither judges it by its own rows nor makes it live', async () => {
      const rows = (view: MaterializedView, row: z.ZodType) => ({ ...view, '~view': { ...view['~view'], row } }) as MaterializedView
      const old = await started(rows(plain(), z.object({ id: z.int(), body: z.string(), likes: z.int() })))
      await old.settle()
      const renamed = materializedView('posts_view', {
        row: z.object({ id: z.int(), text: z.string() }),
        key: 'id',
        select: 'select id, body as text from posts',
        changedBy: { posts: 'id' },
      }) as unknown as MaterializedView
      await started(renamed, { roles: ['commands', 'queries'] })
      await database.query(`update posts set body = 'meanwhile' where id = 1`)
      await expect
        .poll(async () => {
          await old.settle()
          return (await database.query(`select from "${schema}".mark`)).rows
        })
        .toEqual([])
      expect(await versions()).toEqual([
        { version: 1, state: 'live' },
        { version: 2, state: 'building' },
      ])
      await (await started(renamed)).settle()
      expect(await versions()).toEqual([
        { version: 1, state: 'previous' },
        { version: 2, state: 'live' },
      ])
      await old.settle()
      expect((await versions()).at(-1)).toEqual({ version: 2, state: 'live' })
    })

    test('a verdict over a build that comes late stops neither what is live nor a build that was begun anew', async () => {
      const app = await started(plain())
      await app.settle()
      const runtime = { database, schema, clock: systemClock, log: silentLog }
      const build = async () => (await readVersions(database, schema))[0] ?? { id: 0, buildStartedAt: null }
      const first = await build()
      await stopVersion(runtime, first.id, 'posts_view', 'late', first)
      expect(await versions()).toEqual([{ version: 1, state: 'live' }])
      await app.stop()
      await database.query(`select "${schema}".enqueue($1)`, [first.id])
      await database.query(`update "${schema}".view set state = 'building'`)
      await stopVersion(runtime, first.id, 'posts_view', 'late', first)
      expect(await versions()).toEqual([{ version: 1, state: 'building' }])
      await stopVersion(runtime, first.id, 'posts_view', 'in time', await build())
      expect(await versions()).toEqual([{ version: 1, state: 'stopped' }])
    })

    test('an old process that comes back when its version was dropped builds nothing backwards, and is told how to go back', async () => {
      await (await started(plain())).settle()
      const app = await started(loud(), { rollbackWindowMs: 0 })
      await app.settle()
      await expect.poll(versions, { timeout: 10_000 }).toEqual([{ version: 2, state: 'live' }])
      const told: unknown[] = []
      const old = await started(plain(), { log: (_level, message, details) => told.push([message, details?.toGoBack]) })
      await old.settle()
      expect(await versions()).toEqual([{ version: 2, state: 'live' }])
      expect(told).toContainEqual([
        'posts_view: this process defines version 1, but version 2 is live and goes on serving',
        expect.stringMatching(/version 1 is not kept any more: change its SELECT in something, such as .* "where true"/),
      ])
      expect((await old.query('post', { id: 1 })).result?.body).toBe('POST 1')
      const changed = plain()
      const again = await started({ ...changed, '~view': { ...changed['~view'], select: `${changed['~view'].select} where true` } })
      await again.settle()
      expect((await versions()).at(-1)).toEqual({ version: 3, state: 'live' })
      expect((await again.query('post', { id: 1 })).result?.body).toBe('post 1')
    })

    test('processes of two definitions that restart during a first build do not take turns building', async () => {
      const idle = { roles: ['queries'] } as const
      await started(plain(), idle)
      await started(loud(), idle)
      for (const view of [plain(), loud(), plain()]) await started(view, idle)
      expect(await versions()).toEqual([{ version: 2, state: 'building' }])
      await (await started(loud())).settle()
      expect(await versions()).toEqual([{ version: 2, state: 'live' }])
    })

    test('a rollback is not undone by processes of the newer definition, not even when its version was dropped', async () => {
      await (await started(plain())).settle()
      const second = await started(loud())
      await second.settle()
      await second.readModel('posts_view').rollback()
      await (await started(loud())).settle()
      await (await started(plain(), { rollbackWindowMs: 0 })).settle()
      await expect.poll(versions, { timeout: 10_000 }).toEqual([{ version: 1, state: 'live' }])
      await (await started(loud())).settle()
      expect(await versions()).toEqual([{ version: 1, state: 'live' }])
    })

    test('a read model that was dropped is forgotten, with all its definitions', async () => {
      await (await started(plain())).settle()
      await (await started(loud())).settle()
      const other = materializedView('names', {
        row: typeOf<{ id: number; name: string }>(),
        key: 'id',
        select: 'select id, name from users',
        changedBy: { users: 'id' },
      }) as unknown as MaterializedView
      for (const app of apps.splice(0)) await app.stop()
      const app = await started(other)
      await app.settle()
      await app.drop('posts_view')
      await (await started(plain())).settle()
      expect(await versions()).toEqual([
        { version: 1, state: 'live' },
        { version: 1, state: 'live' },
      ])
    })

    test('the old version is dropped when its rollback window is over', async () => {
      await (await started(plain())).settle()
      const app = await started(loud(), { rollbackWindowMs: 0 })
      await app.settle()
      await expect.poll(versions, { timeout: 10_000 }).toEqual([{ version: 2, state: 'live' }])
      const { rows } = await database.query(`select from pg_class where relname = 'posts_view_v1' and relnamespace = $1::regnamespace`, [
        schema,
      ])
      expect(rows).toEqual([])
    })

    test('a build that was interrupted goes on where it was', async () => {
      const app = await started(plain())
      await app.stop()
      const { rows } = await database.query<{ left: number }>(`select count(*) as left from "${schema}".mark where lane = 2`)
      const again = await started(plain())
      await again.settle()
      expect(rows[0]?.left).toBeGreaterThanOrEqual(0)
      expect(await storedPosts(database, schema)).toEqual(await expectedPosts(database))
    })

    test('switching between sync and async builds nothing', async () => {
      await (await started(plain('async'))).settle()
      const app = await started(plain('sync'))
      expect(await versions()).toEqual([{ version: 1, state: 'live' }])
      await apps[0]?.stop()
      await database.query(`update posts set body = 'at once' where id = 3`)
      expect((await app.query('post', { id: 3 })).result?.body).toBe('at once')
    })

    test('an index may be declared anew without building anything', async () => {
      await (await started(plain())).settle()
      const definition = plain()
      await started({ ...definition, '~view': { ...definition['~view'], indexes: { byLikes: ['likes'] } } })
      const { rows } = await database.query(
        `select indexname from pg_indexes where tablename = 'posts_view_v1' and schemaname = $1 order by 1`,
        [schema],
      )
      expect(rows).toEqual([{ indexname: 'posts_view_v1_likes_id' }, { indexname: 'posts_view_v1_pkey' }])
      expect(await versions()).toEqual([{ version: 1, state: 'live' }])
    })

    test('a row schema that names what the SELECT does not give is refused, and one that is wrong about a type stops the build', async () => {
      const wrong = (row: z.ZodType) => ({ ...plain(), '~view': { ...plain()['~view'], row } }) as MaterializedView
      await expect(started(wrong(z.object({ id: z.int(), title: z.string() })))).rejects.toThrow(
        /"row" names title, which its SELECT does not give/,
      )
      const app = await started(wrong(z.object({ id: z.int(), body: z.int() })))
      await expect
        .poll(async () => (await app.readModel('posts_view').status()).error, { timeout: 10_000 })
        .toMatch(/invalid input at body/)
    })

    for (const update of ['sync', 'async'] as const) {
      test(`${update}: TRUNCATE, cascades and a migration that touches every row are taken in`, async () => {
        const app = await started(plain(update))
        await app.settle()
        await database.query(`update posts set body = body || '!', author_id = 3 - author_id`)
        await database.query(`delete from posts where id % 3 = 0`)
        await database.query('truncate likes')
        await app.settle()
        expect(await storedPosts(database, schema)).toEqual(await expectedPosts(database))
        await database.query('truncate posts cascade')
        await app.settle()
        expect(await storedPosts(database, schema)).toEqual([])
      })
    }

    test('verify finds rows that were tampered with, and repair mends them', async () => {
      const app = await started(plain())
      await app.settle()
      await database.query(`update "${schema}".posts_view_v1 set likes = 77 where id = 1; delete from "${schema}".posts_view_v1 where id = 2;
        insert into "${schema}".posts_view_v1 values (9999, 'ghost', 'nobody', 0)`)
      const { differences, keysChecked } = await app.readModel('posts_view').verify()
      expect(differences).toEqual([
        { key: '1', kind: 'different' },
        { key: '2', kind: 'missing' },
        { key: '9999', kind: 'surplus' },
      ])
      expect(keysChecked).toBe(1201)
      await app.readModel('posts_view').repair()
      expect((await app.readModel('posts_view').status()).error).toBeUndefined()
      expect((await app.readModel('posts_view').verify()).differences).toEqual([])
      expect(await storedPosts(database, schema)).toEqual(await expectedPosts(database))
    })

    test('rebuild selects every key again without being away', async () => {
      const app = await started(plain())
      await app.settle()
      await database.query(`update "${schema}".posts_view_v1 set author = 'wrong'`)
      await app.readModel('posts_view').rebuild()
      expect((await app.query('post', { id: 1 })).result).not.toBeNull()
      await app.settle()
      expect(await storedPosts(database, schema)).toEqual(await expectedPosts(database))
    })

    test('a column that is dropped stops the read model, names the column, and lets the writer and the others go on', async () => {
      const names = materializedView('names', {
        row: typeOf<{ id: number; name: string }>(),
        key: 'id',
        select: 'select id, name from users',
        changedBy: { users: 'id' },
      })
      const app = await started([plain('sync'), names as unknown as MaterializedView])
      await app.settle()
      await database.query('alter table posts drop column body')
      await database.query(`insert into posts values (6000, 1)`)
      await database.query(`update users set name = 'still written' where id = 1`)
      await app.settle()
      await expect.poll(async () => (await app.readModel('posts_view').status()).state, { timeout: 10_000 }).toBe('stopped')
      expect((await app.readModel('posts_view').status()).error).toContain('body')
      await app.settle()
      expect((await database.query(`select name from "${schema}".names where id = 1`)).rows).toEqual([{ name: 'still written' }])
    })

    test('a key column that is renamed under the trigger never fails the writer', async () => {
      const app = await started(plain())
      await app.settle()
      await database.query('alter table posts rename column id to number')
      await database.query(`insert into posts (number, author_id, body) values (7000, 1, 'x')`)
      await expect.poll(async () => (await app.readModel('posts_view').status()).state, { timeout: 10_000 }).toBe('stopped')
      await database.query('alter table posts rename column number to id')
      await app.readModel('posts_view').resume()
      await app.settle()
      expect(await storedPosts(database, schema)).toEqual(await expectedPosts(database))
    })

    test('a key whose row cannot be computed is parked alone, and heals when its source does', async () => {
      const ratios = materializedView('ratios', {
        row: typeOf<{ id: number; ratio: number }>(),
        key: 'id',
        select: 'select id, 100 / length(body) as ratio from posts',
        changedBy: { posts: 'id' },
      }) as unknown as MaterializedView
      const app = await started(ratios)
      await app.settle()
      await database.query(`update posts set body = '' where id in (5, 6); update posts set body = 'four' where id = 7`)
      await app.settle()
      const { parked, state } = await app.readModel('ratios').status()
      expect({ parked, state }).toEqual({ parked: 2, state: 'live' })
      expect((await database.query(`select ratio from "${schema}".ratios where id = 7`)).rows).toEqual([{ ratio: 25 }])
      await database.query(`update posts set body = 'ab' where id in (5, 6)`)
      await app.settle()
      expect((await app.readModel('ratios').status()).parked).toBe(0)
      expect((await app.readModel('ratios').verify()).differences).toEqual([])
    })

    test('when every key fails the read model stops instead of parking them all', async () => {
      const bad = materializedView('bad', {
        row: typeOf<{ id: number; n: number }>(),
        key: 'id',
        select: 'select id, 1 / (id - id) as n from posts',
        changedBy: { posts: 'id' },
      }) as unknown as MaterializedView
      const app = await started(bad)
      await expect.poll(async () => (await app.readModel('bad').status()).state, { timeout: 10_000 }).toBe('stopped')
      expect((await app.readModel('bad').status()).error).toContain('division by zero')
    })

    test('a read model that no definition names is reported, and dropped on demand', async () => {
      await (await started(plain())).settle()
      const names = materializedView('names', {
        row: typeOf<{ id: number; name: string }>(),
        key: 'id',
        select: 'select id, name from users',
        changedBy: { users: 'id' },
      }) as unknown as MaterializedView
      const app = await started(names)
      await app.settle()
      expect((await app.status()).readModels.map(({ name, state }) => ({ name, state }))).toEqual([
        { name: 'names', state: 'live' },
        { name: 'posts_view', state: 'orphaned' },
      ])
      await app.drop('posts_view')
      expect((await app.status()).readModels.map(({ name }) => name)).toEqual(['names'])
      await database.query(`insert into posts values (8000, 1, 'nobody listens')`)
      expect((await database.query(`select from "${schema}".mark`)).rows).toEqual([])
    })

    test('uninstall leaves no trace', async () => {
      const before = await traces(database, schema)
      const app = await started([plain('sync')])
      await app.settle()
      expect(await traces(database, schema)).not.toEqual(before)
      await app.uninstall()
      expect(await traces(database, schema)).toEqual(before)
      await database.query(`insert into posts values (9000, 1, 'free')`)
    })
  })
}

/** What an installation might leave behind: its schema, and what hangs on the application's own. */
async function traces(database: Database, schema: string) {
  const { rows } = await database.query(
    `select (select count(*) from pg_namespace where nspname = $1) as schemas,
       (select array_agg(relname order by relname) from pg_class where relnamespace = current_schema()::regnamespace) as classes,
       (select count(*) from pg_proc where pronamespace = current_schema()::regnamespace) as functions,
       (select count(*) from pg_type where typnamespace = current_schema()::regnamespace) as types,
       (select count(*) from pg_trigger t join pg_class c on c.oid = t.tgrelid where c.relnamespace = current_schema()::regnamespace and not t.tgisinternal) as triggers`,
    [schema],
  )
  return rows[0]
}
