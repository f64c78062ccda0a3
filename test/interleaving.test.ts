import { type Database, headwater, type Mode, silentLog } from 'headwater'
import { manualClock } from 'headwater/testing'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { blogTables, expectedPosts, postsView, storedPosts } from './process/blog.ts'
import { databases, freshSchema, postgresUrl } from './support/databases.ts'

const server = databases.find(({ name }) => name === 'postgres')

/** Two foreign connections that know nothing of Headwater, stepped by hand; time stands still, so that no worker runs but when asked. */
describe.skipIf(server?.skip)('interleavings of two writers', () => {
  let database: Database
  let schema: string
  let tables: string
  let a: pg.Client
  let b: pg.Client

  beforeEach(async () => {
    schema = freshSchema()
    if (!server) throw new Error('no server')
    database = await server.open()
    tables = (await database.query<{ schema: string }>('select current_schema() as schema')).rows[0]?.schema ?? ''
    await database.query(blogTables)
    await database.query(
      `insert into users values (1, 'old'), (2, 'other'); insert into posts values (1, 1, 'first'); insert into likes values (1, 2)`,
    )
    ;[a, b] = await Promise.all([connect(), connect()])
  })

  afterEach(async () => {
    await Promise.all([a.end(), b.end()])
    await database.query(`drop schema if exists "${schema}" cascade`).catch(() => undefined)
    await database.close()
  })

  async function connect(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: postgresUrl })
    await client.connect()
    await client.query(`set search_path = "${tables}"`)
    return client
  }

  async function startApp(update: Mode) {
    const app = headwater({ database, schema, readModels: { posts: postsView(update) }, clock: manualClock(), log: silentLog })
    await app.start()
    await app.settle()
    return app
  }

  const begin = async (client: pg.Client) =>
    (
      (await client.query<{ xid: string }>('begin; select pg_current_xact_id()::text as xid')) as unknown as pg.QueryResult<{
        xid: string
      }>[]
    )[1]?.rows[0]?.xid ?? ''

  /** Whether a token of that write (one that fanned out) would be satisfied now. */
  async function satisfied(xid: string): Promise<boolean> {
    const { rows } = await database.query<{ lacking: number }>(
      `select o.lacking from "${schema}".outstanding(array(select id from "${schema}".view), array[$1::xid8], '{true}', null) o`,
      [xid],
    )
    return rows[0]?.lacking === 0
  }

  const drain = () => database.query(`select "${schema}".drain(id, false, null) from "${schema}".view`)

  for (const update of ['sync', 'async'] as const) {
    for (const first of ['rename', 'insert'] as const) {
      test(`${update}: an author is renamed while a post is inserted, the ${first} committing first`, async () => {
        await startApp(update)
        await begin(a)
        await begin(b)
        await a.query(`update users set name = 'new' where id = 1`)
        await b.query(`insert into posts values (2, 1, 'second')`)
        await (first === 'rename' ? a : b).query('commit')
        // The echo of the first is worked off while the second is still open.
        await drain()
        await (first === 'rename' ? b : a).query('commit')
        await drain()
        expect(await storedPosts(database, schema)).toEqual(await expectedPosts(database))
        expect((await storedPosts(database, schema)).map(({ author }) => author)).toEqual(['new', 'new'])
      })
    }

    test(`${update}: two likes of one post at the same time both count`, async () => {
      await startApp(update)
      await begin(a)
      await begin(b)
      await a.query('insert into likes values (1, 3)')
      await b.query('insert into likes values (1, 4)')
      await Promise.all([a.query('commit'), b.query('commit')])
      await drain()
      expect(await storedPosts(database, schema)).toEqual([{ id: 1, body: 'first', author: 'old', likes: 3 }])
    })

    test(`${update}: a key that leaves and comes back in one transaction, and across two, is there once and right`, async () => {
      await startApp(update)
      await begin(a)
      await a.query('delete from posts where id = 1')
      await a.query(`insert into posts values (1, 2, 'again')`)
      await a.query('commit')
      await drain()
      expect(await storedPosts(database, schema)).toEqual([{ id: 1, body: 'again', author: 'other', likes: 0 }])
      await a.query('delete from posts where id = 1')
      await begin(b)
      await b.query(`insert into posts values (1, 1, 'third time')`)
      await drain()
      expect(await storedPosts(database, schema)).toEqual([])
      await b.query('commit')
      await drain()
      expect(await storedPosts(database, schema)).toEqual([{ id: 1, body: 'third time', author: 'old', likes: 0 }])
    })

    test(`${update}: a post that moves to another author touches both images`, async () => {
      await startApp(update)
      await a.query('update posts set author_id = 2 where id = 1')
      await drain()
      await a.query(`update users set name = 'renamed' where id = 2`)
      await drain()
      expect((await storedPosts(database, schema))[0]?.author).toBe('renamed')
    })

    test(`${update}: what a savepoint took back leaves no trace`, async () => {
      await startApp(update)
      await begin(a)
      await a.query('savepoint s')
      await a.query('insert into likes values (1, 9)')
      await a.query('rollback to s')
      await a.query('commit')
      await drain()
      expect(await storedPosts(database, schema)).toEqual(await expectedPosts(database))
    })
  }

  test('sync: the writer sees its own row in its own transaction after commit, without any worker', async () => {
    await startApp('sync')
    await a.query('insert into likes values (1, 5)')
    expect((await storedPosts(database, schema))[0]?.likes).toBe(2)
  })

  test('sync: the token of a rename is not satisfied while a post that overlapped it shows the old name', async () => {
    await startApp('sync')
    const rename = await begin(a)
    await begin(b)
    await b.query(`insert into posts values (2, 1, 'second')`)
    // b computes its row before the rename commits: as at its end, then it stays open.
    await b.query('set constraints all immediate')
    await a.query(`update users set name = 'new' where id = 1`)
    await a.query('commit')
    await drain()
    expect(await satisfied(rename)).toBe(true)
    await b.query('commit')
    expect((await storedPosts(database, schema)).map(({ author }) => author)).toEqual(['new', 'old'])
    expect(await satisfied(rename)).toBe(false)
    await drain()
    expect((await storedPosts(database, schema)).map(({ author }) => author)).toEqual(['new', 'new'])
    expect(await satisfied(rename)).toBe(true)
  })

  test('sync: the token of a rename waits for its own echo when the overlapping insert committed first', async () => {
    await startApp('sync')
    const rename = await begin(a)
    await a.query(`update users set name = 'new' where id = 1`)
    await a.query('set constraints all immediate')
    await b.query(`insert into posts values (2, 1, 'second')`)
    await drain()
    await a.query('commit')
    expect((await storedPosts(database, schema)).map(({ author }) => author)).toEqual(['new', 'old'])
    expect(await satisfied(rename)).toBe(false)
    await drain()
    expect((await storedPosts(database, schema)).map(({ author }) => author)).toEqual(['new', 'new'])
    expect(await satisfied(rename)).toBe(true)
  })

  /** Resolves when as many of this test's connections as that wait for a lock. */
  const waiting = (count: number) =>
    expect
      .poll(
        async () =>
          (
            await database.query<{ n: number }>(
              `select count(*) as n from pg_stat_activity where wait_event_type = 'Lock' and query like '%"${schema}"%' and pid <> pg_backend_pid()`,
            )
          ).rows[0]?.n,
      )
      .toBe(count)

  test('a worker that read a key before another change does not write it after the worker that read it since', async () => {
    await startApp('async')
    await database.query(`insert into posts values (2, 1, 'second')`)
    await drain()
    await a.query('begin')
    await a.query(`select from "${schema}".posts_view_v1 where id = 1 for update`)
    await database.query('insert into likes values (1, 7), (2, 7)')
    // It has read both posts, and cannot write the first.
    const slow = drain()
    await waiting(1)
    await database.query('insert into likes values (2, 8)')
    const quick = drain()
    await Promise.race([quick, waiting(2)])
    await a.query('rollback')
    await Promise.all([slow, quick])
    expect(await storedPosts(database, schema)).toEqual(await expectedPosts(database))
  })

  test('a version registered while a writer is under way takes in that write', async () => {
    await startApp('async')
    await begin(a)
    await a.query(`update posts set body = 'changed meanwhile' where id = 1`)
    const again = headwater({
      database,
      schema,
      readModels: {
        posts: {
          ...postsView('async'),
          '~view': {
            ...postsView('async')['~view'],
            select: postsView('async')['~view'].select.replace('p.body', `upper(p.body) as body`),
          },
        },
      },
      log: silentLog,
    })
    const started = again.start()
    await new Promise((resolve) => setTimeout(resolve, 100))
    await a.query('commit')
    await started
    await again.settle()
    expect((await storedPosts(database, schema))[0]?.body).toBe('CHANGED MEANWHILE')
  })
})
