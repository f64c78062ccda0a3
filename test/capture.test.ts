import { type Database, headwater, type MaterializedView, materializedView, silentLog, type as typeOf } from 'headwater'
import { postgres } from 'headwater/postgres'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { blogTables, expectedPosts, postsView, storedPosts } from './process/blog.ts'
import { databases, freshSchema, lasting, postgresUrl } from './support/databases.ts'

const server = databases.find(({ name }) => name === 'postgres')

describe.skipIf(server?.skip)('change capture on a server', () => {
  let database: Database
  let schema: string
  let tables: string
  const undo: (() => Promise<unknown>)[] = []

  beforeEach(async () => {
    if (!server) throw new Error('no server')
    database = await server.open()
    schema = freshSchema()
    tables = (await database.query<{ schema: string }>('select current_schema() as schema')).rows[0]?.schema ?? ''
  })

  afterEach(async () => {
    for (const step of undo.splice(0).reverse()) await step()
    await database.query(`drop schema if exists "${schema}" cascade`)
    await database.close()
  })

  async function start(...views: readonly unknown[]) {
    const app = headwater({
      database: lasting(database),
      schema,
      readModels: Object.fromEntries(views.map((view, i) => [String(i), view])),
      log: silentLog,
    })
    undo.push(() => app.stop())
    await app.start()
    await app.settle()
    return app
  }

  const marks = async () =>
    (await database.query<{ map: number; keys: string[] }>(`select map, keys from "${schema}".mark order by map, keys`)).rows
  interface AnyView {
    readonly row: unknown
    readonly key: string | readonly string[]
    readonly select: string
    readonly changedBy: Readonly<Record<string, string | readonly string[]>>
    readonly update?: 'sync' | 'async'
  }
  const view = (definition: AnyView) => materializedView('seen', definition as never) as unknown as MaterializedView

  async function role(grants: string): Promise<pg.Client> {
    const name = freshSchema('role')
    await database.query(`create role ${name} login; grant usage on schema "${tables}" to ${name}; ${grants.replaceAll('ROLE', name)}`)
    undo.push(() => database.query(`drop owned by ${name}; drop role ${name}`))
    const url = new URL(postgresUrl)
    url.username = name
    const client = new pg.Client({ connectionString: url.href, options: `-c search_path=${tables}` })
    await client.connect()
    undo.push(() => client.end())
    return client
  }

  for (const update of ['sync', 'async'] as const) {
    test(`${update}: a role that may only insert into one table, with settings of its own, is captured`, async () => {
      await database.query(blogTables)
      await database.query(`insert into users values (1, 'ann')`)
      const app = await start(postsView(update))
      const writer = await role(`grant insert on "${tables}".posts to ROLE`)
      await writer.query(`set timezone = 'Asia/Tokyo'; set datestyle = 'German'; create temp table users (id int, name text)`)
      await writer.query(`insert into posts values (1, 1, 'from outside')`)
      await app.settle()
      expect(await storedPosts(database, schema)).toEqual([{ id: 1, body: 'from outside', author: 'ann', likes: 0 }])
    })

    test(`${update}: one statement over 100,000 rows commits, and is taken in`, async () => {
      await database.query(blogTables)
      await database.query(`insert into users values (1, 'ann'); insert into posts select i, 1, 'x' from generate_series(1, 100000) i`)
      const app = await start(postsView(update))
      await database.query(`update posts set body = 'y'`)
      await database.query(`update users set name = 'anna'`)
      await app.settle()
      const { rows } = await database.query(`select count(*) as n from "${schema}".posts_view where body = 'y' and author = 'anna'`)
      expect(rows).toEqual([{ n: 100000 }])
    }, 300_000)
  }

  test('a role that owns its tables and is no superuser can do everything', async () => {
    const owner = freshSchema('owner')
    await database.query(
      `create role ${owner} login; create schema ${owner} authorization ${owner}; create schema ${schema} authorization ${owner}`,
    )
    undo.push(() => database.query(`drop owned by ${owner} cascade; drop role ${owner}`))
    const url = new URL(postgresUrl)
    url.username = owner
    const own = postgres(url.href, { searchPath: owner })
    await own.query(blogTables)
    await own.query(`insert into users values (1, 'ann'); insert into posts values (1, 1, 'mine')`)
    const app = headwater({ database: own, schema, readModels: { posts: postsView('sync') }, log: silentLog })
    await app.start()
    await app.settle()
    await own.query(`update users set name = 'anna'`)
    expect((await storedPosts(own, schema))[0]?.author).toBe('anna')
    await app.uninstall()
  })

  test('an update that changes nothing the view reads leaves no mark', async () => {
    await database.query(`create table people (id int primary key, name text, seen_at timestamptz, extra json, amount numeric);
      insert into people values (1, 'ann', now(), '{"a": 1}', 1.0), (2, 'bob', now(), '{}', 1)`)
    const app = await start(
      view({
        row: typeOf<{ id: number; name: string; extra: unknown; amount: string }>(),
        key: 'id',
        select: 'select id, name, extra, amount from people',
        changedBy: { people: 'id' },
      }),
    )
    await app.stop()
    await database.query('update people set seen_at = now()')
    await database.query('update people set seen_at = now() where id = 1')
    await database.query('update people set name = name')
    expect(await marks()).toEqual([])
    await database.query('update people set amount = 1.00 where id = 1')
    await database.query(`update people set extra = '{"a": 2}' where id = 2`)
    await database.query(`update people set extra = '{"a":  3}', amount = amount + 0`)
    expect(await marks()).toEqual([
      { map: 0, keys: ['1'] },
      { map: 0, keys: ['1', '2'] },
      { map: 0, keys: ['2'] },
    ])
  })

  test('a whole-row reference counts every column', async () => {
    await database.query(`create table docs (id int primary key, a text, b text); insert into docs values (1, 'a', 'b')`)
    const app = await start(
      view({
        row: typeOf<{ id: number; doc: unknown }>(),
        key: 'id',
        select: 'select d.id, to_jsonb(d) as doc from docs d',
        changedBy: { docs: 'id' },
      }),
    )
    await database.query(`update docs set b = 'changed'`)
    await app.settle()
    expect((await database.query(`select doc from "${schema}".seen`)).rows).toEqual([{ doc: { id: 1, a: 'a', b: 'changed' } }])
  })

  test('rows written directly into a partition, and partitions that come and go, are taken in', async () => {
    await database.query(`create table events (id int, day date, note text, primary key (id, day)) partition by range (day);
      create table events_1 partition of events for values from ('2026-01-01') to ('2026-02-01');
      create table events_2 partition of events for values from ('2026-02-01') to ('2026-03-01')`)
    const app = await start(
      view({
        row: typeOf<{ id: number; day: string; note: string }>(),
        key: ['id', 'day'],
        select: 'select id, day, note from events',
        changedBy: { events: ['id', 'day'] },
      }),
    )
    const notes = async () =>
      (await database.query<{ note: string }>(`select note from "${schema}".seen order by note`)).rows.map(({ note }) => note)
    await database.query(`insert into events_1 values (1, '2026-01-05', 'direct'); insert into events values (2, '2026-01-06', 'through')`)
    await database.query(`update events set day = '2026-02-06' where id = 2`)
    await app.settle()
    expect(await notes()).toEqual(['direct', 'through'])
    await database.query(`create table events_3 (id int not null, note text, day date not null);
      insert into events_3 values (3, 'attached', '2026-03-03');
      alter table events attach partition events_3 for values from ('2026-03-01') to ('2026-04-01')`)
    await expect.poll(notes, { timeout: 10_000 }).toEqual(['attached', 'direct', 'through'])
    await database.query(`insert into events_3 values (4, 'later', '2026-03-04')`)
    await app.settle()
    expect(await notes()).toEqual(['attached', 'direct', 'later', 'through'])
    await database.query('alter table events detach partition events_1')
    await expect.poll(notes, { timeout: 10_000 }).toEqual(['attached', 'later', 'through'])
  })

  test('triggers that somebody disabled are noticed, and what was missed is taken in', async () => {
    await database.query(blogTables)
    await database.query(`insert into users values (1, 'ann')`)
    await start(postsView('async'))
    await database.query(`alter table posts disable trigger all; insert into posts values (1, 1, 'unseen')`)
    await expect.poll(async () => (await storedPosts(database, schema)).length, { timeout: 10_000 }).toBe(1)
    const writer = new pg.Client({ connectionString: postgresUrl, options: `-c search_path=${tables} -c session_replication_role=replica` })
    await writer.connect()
    await writer.query(`update posts set body = 'by a replication worker'`)
    await writer.end()
    await expect.poll(async () => (await storedPosts(database, schema))[0]?.body, { timeout: 10_000 }).toBe('by a replication worker')
  })

  test('every column type keeps its value, as a key too', async () => {
    await database.query(`create extension if not exists citext schema public`)
    await database.query(`create type mood as enum ('sad', 'happy'); create domain positive as int check (value > 0);
      create table all_types (at timestamptz, n numeric, f float8, big int8, word public.citext, day date, b bytea, m mood, p positive, tags text[], span interval,
        j json, jb jsonb, r int4range, ip inet, u uuid, t time, bits bit(3), primary key (at, n, big, word))`)
    await database.query(`insert into all_types select '2026-01-01 00:00:00.123456+00'::timestamptz + i * interval '1 microsecond', 1.10, 'NaN', 9007199254740993, 'Ann', '0044-03-15 BC', '\\xdeadbeef',
      'happy', 3, '{a,NULL,"c d"}', '1 mon 2 days', '{"b": 1,  "a": 2}', '{"b": 1}', '[1,5)', '::1/64', gen_random_uuid(), '12:34:56.789', B'101' from generate_series(1, 20) i`)
    const definition = {
      row: typeOf<Record<string, unknown>>(),
      key: ['at', 'n', 'big', 'word'],
      select: 'select at, n, big, word, f, day, b, m, p, tags, span, j, jb, r, ip, u, t, bits from all_types',
      changedBy: { all_types: ['at', 'n', 'big', 'word'] },
      update: 'sync' as const,
    }
    const app = await start(view(definition))
    await database.query(
      `update all_types set n = 1.1, f = '-0', span = '36 hours' where at > '2026-01-01 00:00:00.123460+00'; delete from all_types where at = '2026-01-01 00:00:00.123458+00'`,
    )
    await app.settle()
    const { rows } = await database.query(
      `select count(*) as n from (${definition.select}) q join "${schema}".seen s using (at, big) where row(q.*)::record operator(pg_catalog.*=) row(s.at, s.n, s.big, s.word, s.f, s.day, s.b, s.m, s.p, s.tags, s.span, s.j, s.jb, s.r, s.ip, s.u, s.t, s.bits)::record`,
    )
    expect(rows).toEqual([{ n: 19 }])
    expect((await app.readModel('seen').verify()).differences).toEqual([])
  })

  test('a writer in REPEATABLE READ is captured, and its sync rows follow', async () => {
    await database.query(blogTables)
    await database.query(`insert into users values (1, 'ann'); insert into posts values (1, 1, 'x')`)
    const app = await start(postsView('sync'))
    await database.transaction((transaction) => transaction.query(`update posts set body = 'repeatable'`), { isolation: 'repeatable read' })
    await app.settle()
    expect((await storedPosts(database, schema))[0]?.body).toBe('repeatable')
  })

  test('an error in the sync pass never fails the writer, and the row follows when its source heals', async () => {
    await database.query('create table parts (id int primary key, size int); insert into parts values (1, 2)')
    const app = await start(
      view({
        row: typeOf<{ id: number; share: number }>(),
        key: 'id',
        select: 'select id, 10 / size as share from parts',
        changedBy: { parts: 'id' },
        update: 'sync',
      }),
    )
    await database.query('update parts set size = 0')
    await app.settle()
    expect((await app.readModel('seen').status()).parked).toBe(1)
    await database.query('update parts set size = 5')
    expect((await database.query(`select share from "${schema}".seen`)).rows).toEqual([{ share: 2 }])
  })

  test('many applications that start at once migrate and build once', async () => {
    await database.query(blogTables)
    await database.query(`insert into users values (1, 'ann'); insert into posts select i, 1, 'x' from generate_series(1, 500) i`)
    const apps = Array.from({ length: 6 }, () =>
      headwater({ database: lasting(database), schema, readModels: { posts: postsView('async') }, log: silentLog }),
    )
    await Promise.all(apps.map((app) => app.start()))
    await Promise.all(apps.map((app) => app.settle()))
    expect((await database.query(`select version, state from "${schema}".view`)).rows).toEqual([{ version: 1, state: 'live' }])
    expect(await storedPosts(database, schema)).toEqual(await expectedPosts(database))
    await Promise.all(apps.map((app) => app.stop()))
  })
})
