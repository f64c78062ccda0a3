import { type Database, DefinitionError } from 'headwater'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Analysis, analyse } from '../src/materialized-view/analysis/select-analysis.ts'
import type { KeyMap, ViewDefinition } from '../src/materialized-view/materialized-view.ts'
import { blog } from './support/analysed-blog.ts'
import { databases } from './support/databases.ts'

type Asked = Partial<Pick<ViewDefinition, 'key' | 'reads' | 'changedBy'>> & { readonly select: string }

/** Maps for every table of the blog that a SELECT may name; what is not read is left out by {@link mapsFor}. */
const columnMaps: Record<string, KeyMap> = {
  posts: 'id',
  likes: 'post_id',
  tags: 'post_id',
  users: { sql: 'select id from posts where author_id = $1', params: ['id'] },
}

function mapsFor(select: string, changes: Record<string, KeyMap> = {}): Record<string, KeyMap> {
  const used = Object.entries(columnMaps).filter(([table]) => new RegExp(`\\b${table}\\b`).test(select))
  return { ...Object.fromEntries(used), ...changes }
}

for (const target of databases) {
  describe.skipIf(target.skip)(`the analysis of a SELECT on ${target.name}`, () => {
    let database: Database
    let home: string

    beforeAll(async () => {
      database = await target.open()
      await database.query(blog)
      home = (await database.query<{ home: string }>('select current_schema() as home')).rows[0]?.home ?? ''
    })

    const run = ({ select, key = ['id'], changedBy = mapsFor(select), reads = [] }: Asked): Promise<Analysis> => {
      const definition = { select, key, changedBy, reads, indexes: {}, update: 'async', row: undefined as never } as const
      return database.transaction((client) => analyse(client, { name: 'sample', schema: 'headwater_analysis_home', definition }))
    }

    const refusals = async (asked: Asked): Promise<{ codes: readonly string[]; subjects: readonly string[]; message: string }> => {
      const error = await run(asked).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      if (!(error instanceof DefinitionError)) throw error ?? new Error('it was accepted')
      const details = error.details as readonly { readonly code: string; readonly subject: string }[]
      return { codes: details.map(({ code }) => code), subjects: details.map(({ subject }) => subject), message: error.message }
    }

    const readsOf = (analysis: Analysis, table: string) => analysis.sources.find((source) => source.table === `${home}.${table}`)?.reads

    describe('answers', () => {
      test('with text, columns, key and sources in which every name is qualified', async () => {
        const analysis = await run({
          select: `select p.id, p.body, u.name as author, p.price, p.mood, (select count(*) from likes l where l.post_id = p.id) as likes
                   from posts p join users u on u.id = p.author_id where p.published_at is not null;`,
        })
        expect(analysis.select).toContain(`FROM (${home}.posts p`)
        expect(analysis.select.endsWith(';')).toBe(false)
        expect(analysis.key).toEqual([{ column: 'id', type: 'integer' }])
        expect(analysis.columns).toEqual([
          { name: 'id', type: 'integer', collatable: false, nullable: true },
          { name: 'body', type: 'text', collatable: true, nullable: true },
          { name: 'author', type: 'text', collatable: true, nullable: true },
          { name: 'price', type: 'numeric(10,2)', collatable: false, nullable: true },
          { name: 'mood', type: `${home}.mood`, collatable: false, nullable: true },
          { name: 'likes', type: 'bigint', collatable: false, nullable: true },
        ])
        expect(analysis.sources.map(({ table, reads, primaryKey, map }) => ({ table, reads, primaryKey, map }))).toEqual([
          { table: `${home}.likes`, reads: ['post_id'], primaryKey: ['post_id', 'user_id'], map: { kind: 'key', columns: ['post_id'] } },
          {
            table: `${home}.posts`,
            reads: ['id', 'author_id', 'body', 'price', 'mood', 'published_at'],
            primaryKey: ['id'],
            map: { kind: 'key', columns: ['id'] },
          },
          {
            table: `${home}.users`,
            reads: ['id', 'name'],
            primaryKey: ['id'],
            map: { kind: 'sql', sql: expect.any(String), params: [{ column: 'id', type: 'integer' }] },
          },
        ])
        expect(analysis.fingerprint).toMatch(/^[0-9a-f]{64}$/)
      })

      test('with a map whose parameters and string constants survive', async () => {
        const { sources } = await run({
          select: 'select p.id, u.name from posts p join users u on u.id = p.author_id',
          changedBy: {
            posts: 'id',
            users: { sql: `select id from posts where author_id = $1 and body <> '$1' and $2 <> 'x'; `, params: ['id', 'name'] },
          },
        })
        const map = sources.find(({ table }) => table.endsWith('.users'))?.map
        expect(map).toMatchObject({
          kind: 'sql',
          params: [
            { column: 'id', type: 'integer' },
            { column: 'name', type: 'text' },
          ],
        })
        const sql = map?.kind === 'sql' ? map.sql : ''
        expect(sql).toMatch(new RegExp(`^SELECT .*id\\s+FROM ${home}\\.posts`))
        expect(sql).toContain('author_id = $1')
        expect(sql).toContain(`'$1'::text`)
        expect(sql).not.toMatch(/END|;/)
      })

      test('the same fingerprint for the same meaning, and another for another', async () => {
        const select = 'select id, body from posts'
        const one = await run({ select })
        expect((await run({ select: 'SELECT id,\n body FROM posts -- the same\n' })).fingerprint).toBe(one.fingerprint)
        const others = [
          { select: 'select id, body || $$!$$ as body from posts' },
          { select: 'select id, body as text from posts' },
          { select, key: ['body'], changedBy: { posts: 'body' } },
          { select, changedBy: { posts: '*' } as const },
        ]
        for (const other of others) expect((await run(other)).fingerprint).not.toBe(one.fingerprint)
      })

      test('without leaving anything behind, nor changing the search path', async () => {
        const counts = ['pg_class where relnamespace', 'pg_proc where pronamespace'].map(
          (what) => `select count(*)::int4 as n from ${what} = '${home}'::regnamespace`,
        )
        const schemas = "select count(*)::int4 from pg_namespace where nspname = 'headwater_analysis_home'"
        const left = async () => (await database.query([...counts, schemas].join(' union all '))).rows
        const before = await left()
        await run({ select: 'select p.id, u.name from posts p join users u on u.id = p.author_id' })
        await expect(run({ select: 'select nothing' })).rejects.toThrow(DefinitionError)
        expect(await left()).toEqual(before)
        const paths = await database.transaction(async (client) => {
          const path = async () =>
            (await client.query(`select current_setting('search_path') as path, current_setting('enable_seqscan') as scan`)).rows[0]
          const first = await path()
          const definition = {
            select: 'select id from posts',
            key: ['id'],
            changedBy: { posts: 'id' },
            reads: [],
            indexes: {},
            update: 'async',
            row: undefined as never,
          } as const
          await analyse(client, { name: 'sample', schema: 'headwater_analysis_home', definition })
          return [first, await path()]
        })
        expect(paths[1]).toEqual(paths[0])
      })
    })

    describe('reads', () => {
      const accepted: readonly { title: string; asked: Asked; reads: Readonly<Record<string, readonly string[] | '*'>> }[] = [
        {
          title: 'a whole row counts as all columns',
          asked: { select: 'select p.id, to_jsonb(p) as all_of_it from posts p' },
          reads: { posts: '*' },
        },
        {
          title: 'a whole row in an aggregate, too',
          asked: { select: 'select l.post_id as id, json_agg(l order by l.user_id) as likes from likes l group by 1' },
          reads: { likes: '*' },
        },
        {
          title: 'columns in ORDER BY, HAVING, FILTER and join conditions count',
          asked: {
            select:
              'select l.post_id as id, count(*) filter (where l.user_id > 0) as n from likes l group by l.post_id having max(l.at) is not null',
          },
          reads: { likes: ['post_id', 'user_id', 'at'] },
        },
        {
          title: 'a table of which no column is named counts',
          asked: {
            select: 'select p.id, t.n from posts p cross join lateral (select count(*) as n from tags) t',
            changedBy: { posts: 'id', tags: '*' },
          },
          reads: { posts: ['id'], tags: [] },
        },
        {
          title: 'a join by USING counts its columns on both sides',
          asked: { select: 'select post_id, t.tag from likes join tags t using (post_id)', key: ['post_id'] },
          reads: { likes: ['post_id'], tags: ['post_id', 'tag'] },
        },
        {
          title: 'a natural full join counts its columns on both sides',
          asked: {
            select:
              'select post_id, n from (select post_id from likes) l natural full join (select post_id, count(*) as n from tags group by 1) t',
            key: ['post_id'],
          },
          reads: { likes: ['post_id'], tags: ['post_id'] },
        },
        {
          title: 'aliased joins count only what is used',
          asked: {
            select:
              'select j.id, j.name from (posts p join users u on u.id = p.author_id) as j(id, author, body, price, mood, published, upper, uid, name)',
          },
          reads: { posts: ['id', 'author_id'], users: ['id', 'name'] },
        },
        {
          title: 'a whole row of a join counts all columns of both',
          asked: { select: 'select id, to_jsonb(j) as j from (posts join tags on post_id = id) as j' },
          reads: { posts: ['id', 'author_id', 'body', 'price', 'mood', 'published_at', 'shouted'], tags: ['post_id', 'tag'] },
        },
        {
          title: 'views are followed',
          asked: { select: 'select id, n from popular', changedBy: { posts: 'id', likes: 'post_id' } },
          reads: { posts: ['id', 'body'], likes: ['post_id'] },
        },
        {
          title: 'functions with a BEGIN ATOMIC body are followed',
          asked: { select: 'select id, tags_of(id) as tags from posts', changedBy: { posts: 'id', tags: 'post_id' } },
          reads: { posts: ['id'], tags: ['post_id', 'tag'] },
        },
        {
          title: 'functions in FROM are followed',
          asked: {
            select: 'select p.id, t.tag from posts p cross join lateral tag_rows(p.id) t',
            changedBy: { posts: 'id', tags: 'post_id' },
          },
          reads: { posts: ['id'], tags: ['post_id', 'tag'] },
        },
        {
          title: 'a stored generated column counts with what it is made from',
          asked: { select: 'select id, shouted from posts' },
          reads: { posts: ['id', 'body', 'shouted'] },
        },
        {
          title: 'CTEs, recursive ones too, are followed',
          asked: {
            select:
              'with recursive up(id, at) as (select id, author_id from posts union select u.id, x.boss from up u join users x on x.id = u.at) select id, max(at) as top from up group by id',
          },
          reads: { posts: ['id', 'author_id'], users: ['id', 'boss'] },
        },
        {
          title: 'set operations are followed',
          asked: { select: 'select id from posts except select post_id from likes' },
          reads: { posts: ['id'], likes: ['post_id'] },
        },
        {
          title: 'outer columns in nested subqueries are told from inner ones',
          asked: {
            select:
              'select p.id, (select count(*) from likes l where exists (select from tags t where t.post_id = l.post_id and t.tag = p.body)) as n from posts p',
          },
          reads: { posts: ['id', 'body'], likes: ['post_id'], tags: ['post_id', 'tag'] },
        },
        {
          title: 'grouped columns are found',
          asked: {
            select:
              'select author_id, lower(mood::text) as m, count(*) as n from posts group by grouping sets ((author_id, lower(mood::text)), (author_id))',
            key: ['author_id'],
            changedBy: { posts: 'author_id' },
          },
          reads: { posts: ['author_id', 'mood'] },
        },
        {
          title: 'tables in "reads" count as a whole',
          asked: { select: 'select id, opaque(id) as o from posts', changedBy: { posts: 'id', likes: '*' }, reads: ['likes'] },
          reads: { posts: ['id'], likes: '*' },
        },
      ]
      test.each(accepted)('$title', async ({ asked, reads }) => {
        const analysis = await run(asked)
        expect(Object.fromEntries(Object.keys(reads).map((table) => [table, readsOf(analysis, table)]))).toEqual(reads)
        expect(analysis.sources).toHaveLength(Object.keys(reads).length)
      })

      test('partitions and inheriting tables are named with their parent', async () => {
        const { sources } = await run({ select: 'select id, n from measured', changedBy: { measured: 'id' } })
        const { rows } = await database.query<{ oid: number }>(
          `select oid::int8 as oid from pg_class where relnamespace = '${home}'::regnamespace and relname in ('measured_low', 'measured_high', 'measured_high_one') order by oid`,
        )
        expect([...(sources[0]?.leaves ?? [])].sort((a, b) => a - b)).toEqual(rows.map(({ oid }) => Number(oid)))
        const only = await run({ select: 'select id, n from only base', changedBy: { base: 'id' } })
        expect(only.sources[0]?.leaves).toEqual([])
        const whole = await run({ select: 'select id, n from base', changedBy: { base: 'id' } })
        expect(whole.sources[0]?.leaves).toHaveLength(1)
      })

      test.skipIf(target.name === 'postgres')(
        'a virtual generated column counts as what it is made from, and no map may name it',
        async () => {
          const analysis = await run({ select: 'select id, doubled from virtual', changedBy: { virtual: 'id' } })
          expect(readsOf(analysis, 'virtual')).toEqual(['id', 'n'])
          expect(
            (await refusals({ select: 'select doubled, id from virtual', key: ['doubled'], changedBy: { virtual: 'doubled' } })).codes,
          ).toEqual(['virtual_column'])
        },
      )
    })

    describe('accepts', () => {
      test.each<[string, Asked]>([
        [
          'functions that are STABLE but read their arguments alone',
          {
            select: `select id, to_char(published_at, 'YYYY') as y, date_trunc('month', published_at) as m, to_tsvector('simple', body) as v, concat(body, price) as c, published_at::date as d, jsonb_build_object('a', body) as j, upper(body) || left(body, 3) as t, age(published_at, published_at) as a, pg_typeof(body) = 'text'::regtype as k from posts`,
          },
        ],
        ['casts by way of text', { select: 'select id, mood::text::mood as m, price::text as p, body::varchar(10) as b from posts' }],
        [
          'a window partitioned by the key',
          {
            select: 'select post_id as id, user_id, row_number() over (partition by post_id order by at) as n from likes',
            key: ['id', 'user_id'].slice(0, 1),
          },
        ],
        [
          'a window partitioned by the key in a subquery',
          {
            select:
              'select * from (select post_id as id, user_id, rank() over (partition by post_id order by at, user_id) as n from likes) q where n <= 3',
          },
        ],
        [
          'a window in a subquery that a join ties to the key',
          {
            select:
              'select p.id, l.user_id from posts p left join (select post_id, user_id, row_number() over (partition by post_id order by at) as n from likes) l on l.post_id = p.id and l.n = 1',
          },
        ],
        [
          'a window in a CTE that a join ties to the key',
          {
            select:
              'with l as (select post_id, user_id, row_number() over (partition by post_id order by at) as n from likes) select p.id, l.user_id from posts p join l on l.post_id = p.id and l.n = 1',
          },
        ],
        [
          'a window in a subquery tied to the key from within a scalar subquery',
          {
            select:
              'select p.id, (select x.user_id from (select post_id, user_id, row_number() over (partition by post_id order by at) as n from likes) x where x.post_id = p.id and x.n = 1) as first from posts p',
          },
        ],
        [
          'a window partitioned by more than the key',
          { select: 'select post_id as id, rank() over (partition by user_id, post_id order by at) as n from likes' },
        ],
        [
          'a window in a branch of a UNION partitioned by the key',
          {
            select:
              'select id, 1 as n from posts union all select post_id, row_number() over (partition by post_id order by at) from likes',
          },
        ],
        [
          'a window across a full join by USING',
          {
            select:
              'select id, n from posts full join (select post_id as id, row_number() over (partition by post_id order by at) as n from likes) l using (id)',
          },
        ],
        [
          'a window over everything where every change touches every key',
          { select: 'select id, rank() over (order by price) as n from posts', changedBy: { posts: '*' } },
        ],
        ['DISTINCT ON the key', { select: 'select distinct on (post_id) post_id as id, user_id from likes order by post_id, at' }],
        ['DISTINCT over columns with the key', { select: 'select distinct post_id as id from likes' }],
        [
          'LIMIT in a lateral subquery',
          {
            select:
              'select p.id, l.user_id from posts p left join lateral (select user_id from likes l where l.post_id = p.id order by at, user_id limit 3) l on true',
          },
        ],
        [
          'LIMIT in a scalar subquery tied to the row',
          {
            select: 'select p.id, (select user_id from likes l where l.post_id = p.id order by at, user_id limit 1) as first from posts p',
          },
        ],
        [
          'a window in a lateral subquery',
          {
            select:
              'select p.id, l.n from posts p cross join lateral (select rank() over (order by at) as n from likes l where l.post_id = p.id) l',
          },
        ],
        [
          'an outer LIMIT where every change touches every key',
          { select: 'select id from posts order by price limit 3', changedBy: { posts: '*' } },
        ],
        ['LIMIT over no table', { select: 'select p.id, x from posts p cross join (select x from generate_series(1, 9) x limit 3) g' }],
        [
          'a value for all keys whose table maps to all of them',
          { select: 'select p.id, (select max(at) from likes) as last from posts p', changedBy: { posts: 'id', likes: '*' } },
        ],
        [
          'a value for all keys whose table maps by SQL',
          {
            select: 'select p.id, (select max(at) from likes) as last from posts p',
            changedBy: { posts: 'id', likes: { sql: 'select id from posts', params: [] } },
          },
        ],
        ['IN over a subquery', { select: 'select id from posts where id in (select post_id from likes)' }],
        [
          'NOT IN and NOT EXISTS tied to the row',
          {
            select:
              'select id from posts p where not exists (select from likes l where l.post_id = p.id) and id not in (select post_id from tags)',
          },
        ],
        [
          'GROUP BY, HAVING and ordered aggregates',
          {
            select:
              'select post_id as id, count(*) as n, jsonb_agg(user_id order by user_id) as u from likes group by post_id having count(*) > 1',
          },
        ],
        [
          'a composite key',
          { select: 'select post_id, user_id, at from likes', key: ['post_id', 'user_id'], changedBy: { likes: ['post_id', 'user_id'] } },
        ],
        [
          'a composite key by SQL',
          {
            select: 'select l.post_id, l.user_id, p.body from likes l join posts p on p.id = l.post_id',
            key: ['post_id', 'user_id'],
            changedBy: {
              likes: ['post_id', 'user_id'],
              posts: { sql: 'select post_id, user_id from likes where post_id = $1', params: ['id'] },
            },
          },
        ],
        ['a map that PostgreSQL can assign to the key', { select: 'select id::bigint as id, body from posts' }],
        ['a table with capitals, quoted', { select: 'select id from "Odd Name"', changedBy: { '"Odd Name"': 'id' } }],
        [
          'VALUES beside tables',
          { select: `select p.id, v.label from posts p join (values ('happy'::mood, 'good')) v(mood, label) on v.mood = p.mood` },
        ],
        ['functions that "reads" vouches for', { select: 'select id, opaque(id) as o from posts', reads: ['posts'] }],
        [
          'the words today and now in texts',
          { select: `select id, case body when 'now' then 'today' else 'it''s tomorrow' end as t from posts -- what 'now' says` },
        ],
        ['columns named like functions', { select: 'select id, price as now, body as current_user_name from posts' }],
        ['a comment at the end', { select: 'select id from posts -- all of them' }],
      ])('%s', async (_title, asked) => {
        await expect(run(asked)).resolves.toMatchObject({ key: expect.any(Array) })
      })
    })

    describe('refuses', () => {
      test.each<[string, string, RegExp, Asked]>([
        ['a SELECT that does not parse', 'not_parsed', /syntax error/, { select: 'selec id from posts', changedBy: { posts: 'id' } }],
        ['what is no SELECT', 'not_parsed', /syntax error/, { select: 'delete from posts' }],
        ['two statements', 'several_statements', /one SELECT/, { select: 'select id from posts; select 1' }],
        ['a table that does not exist', 'unknown_table', /nowhere/, { select: 'select id from nowhere', changedBy: {} }],
        ['a column that does not exist', 'not_parsed', /nothing/, { select: 'select nothing from posts' }],
        [
          'two output columns of one name',
          'duplicate_column',
          /name of its own/,
          { select: 'select p.id, u.id from posts p join users u on u.id = p.author_id' },
        ],
        ['a key that is not selected', 'key_not_selected', /post_id.*\(id\)/, { select: 'select id from posts', key: ['post_id'] }],
        [
          'a key that cannot be compared',
          'key_not_comparable',
          /json/,
          { select: `select to_json(body) as id from posts`, changedBy: { posts: '*' } },
        ],
        [
          'a key that cannot be hashed',
          'key_not_comparable',
          /tsvector/,
          { select: `select to_tsvector('simple', body) as id from posts`, changedBy: { posts: '*' } },
        ],
        [
          'a key of arrays',
          'key_not_comparable',
          /integer\[\]/,
          { select: 'select array[id] as id from posts', changedBy: { posts: '*' } },
        ],
        [
          'a changedBy for a table that does not exist',
          'unknown_table',
          /nowhere/,
          { select: 'select id from posts', changedBy: { posts: 'id', nowhere: 'id' } },
        ],
        [
          'a changedBy for a name that is none',
          'unknown_table',
          /a b c/,
          { select: 'select id from posts', changedBy: { posts: 'id', 'a b c': 'id' } },
        ],
        [
          'a changedBy for a table that is not read',
          'table_not_read',
          /likes/,
          { select: 'select id from posts', changedBy: { posts: 'id', likes: 'post_id' } },
        ],
        [
          'a changedBy for a table twice',
          'mapped_twice',
          /posts/,
          { select: 'select id from posts', changedBy: { posts: 'id', '"posts"': 'id' } },
        ],
        [
          'a changedBy column that does not exist',
          'unknown_column',
          /idd.*it has id, author_id/,
          { select: 'select id from posts', changedBy: { posts: 'idd' } },
        ],
        [
          'a parameter column that does not exist',
          'unknown_column',
          /idd/,
          { select: 'select id from posts', changedBy: { posts: { sql: 'select $1', params: ['idd'] } } },
        ],
        [
          'a changedBy column of a wrong type',
          'key_type',
          /body.*text.*integer/,
          { select: 'select id from posts', changedBy: { posts: 'body' } },
        ],
        [
          'too few changedBy columns',
          'key_columns',
          /1 column.*2/,
          { select: 'select post_id, user_id from likes', key: ['post_id', 'user_id'], changedBy: { likes: 'post_id' } },
        ],
        [
          'too many changedBy columns',
          'key_columns',
          /2 column.*1/,
          { select: 'select post_id as id from likes', changedBy: { likes: ['post_id', 'user_id'] } },
        ],
        [
          'an SQL map that does not parse',
          'map_not_parsed',
          /syntax error/,
          { select: 'select id from posts', changedBy: { posts: { sql: 'selec 1', params: [] } } },
        ],
        [
          'an SQL map with more placeholders than parameters',
          'map_not_parsed',
          /\$2/,
          { select: 'select id from posts', changedBy: { posts: { sql: 'select id from posts where id in ($1, $2)', params: ['id'] } } },
        ],
        [
          'an SQL map of two statements',
          'map_not_parsed',
          /several/,
          { select: 'select id from posts', changedBy: { posts: { sql: 'select 1; select 2', params: [] } } },
        ],
        [
          'an SQL map that writes',
          'map_not_parsed',
          /no SELECT/,
          { select: 'select id from posts', changedBy: { posts: { sql: 'delete from posts returning id', params: [] } } },
        ],
        [
          'an SQL map of too many columns',
          'map_columns',
          /2 column.*1/,
          { select: 'select id from posts', changedBy: { posts: { sql: 'select id, body from posts where id = $1', params: ['id'] } } },
        ],
        [
          'an SQL map of another type',
          'map_type',
          /integer/,
          { select: 'select id from posts', changedBy: { posts: { sql: 'select body from posts where id = $1', params: ['id'] } } },
        ],
        [
          'an SQL map of another type in a composite key',
          'map_type',
          /integer, integer/,
          {
            select: 'select post_id, user_id from likes',
            key: ['post_id', 'user_id'],
            changedBy: { likes: { sql: `select $1, 'x'::text`, params: ['post_id'] } },
          },
        ],
        [
          'an SQL map with LIMIT',
          'map_limit',
          /left out/,
          { select: 'select id from posts', changedBy: { posts: { sql: 'select id from posts limit 1', params: [] } } },
        ],
        [
          'an SQL map that reads chance',
          'volatile_function',
          /random/,
          { select: 'select id from posts', changedBy: { posts: { sql: 'select id from posts where random() > 0.5', params: [] } } },
        ],
        [
          'an SQL map that reads the clock',
          'reads_environment',
          /now\(\)/,
          { select: 'select id from posts', changedBy: { posts: { sql: 'select id from posts where published_at < now()', params: [] } } },
        ],
        ['a sample', 'tablesample', /posts/, { select: 'select id from posts tablesample system (10) repeatable (1)' }],
        ['row locks', 'row_locks', /FOR UPDATE/, { select: 'select id from posts for update' }],
        [
          'row locks in a subquery',
          'row_locks',
          /FOR UPDATE/,
          { select: 'select id from posts where id in (select post_id from likes for share)' },
        ],
        ['a system column', 'system_column', /posts/, { select: 'select id, xmin::text as x from posts' }],
        ['tableoid', 'system_column', /posts/, { select: 'select id, tableoid::int8 as x from posts' }],
        ['a materialized view', 'materialized_view', /totals/, { select: 'select id from totals', changedBy: { totals: 'id' } }],
        ['an unlogged table', 'unlogged_table', /fleeting/, { select: 'select id from fleeting', changedBy: { fleeting: 'id' } }],
        ['an unlogged partition', 'unlogged_table', /logs_one/, { select: 'select id from logs', changedBy: { logs: 'id' } }],
        ['a system table', 'system_table', /pg_class/, { select: 'select oid::int8 as id from pg_class', changedBy: { pg_class: '*' } }],
        [
          'a system view',
          'system_table',
          /pg_stat_activity/,
          { select: 'select pid as id from pg_stat_activity', changedBy: { pg_stat_activity: '*' } },
        ],
        ['a sequence', 'not_a_table', /counter/, { select: 'select last_value as id from counter', changedBy: { counter: '*' } }],
        [
          'a function of which nothing is known',
          'opaque_function',
          /opaque\(integer\)/,
          { select: 'select id, opaque(id) as o from posts' },
        ],
        ['a lying IMMUTABLE function', 'opaque_function', /liar\(integer\)/, { select: 'select id, liar(id) as o from posts' }],
        [
          'an aggregate of which nothing is known',
          'opaque_function',
          /own_sum\(integer\)/,
          { select: 'select post_id as id, own_sum(user_id) as s from likes group by 1' },
        ],
        [
          'an operator of which nothing is known',
          'opaque_function',
          /plus_one\(integer,\s*integer\)/,
          { select: 'select id, id <+> 1 as o from posts' },
        ],
        ['a cast of which nothing is known', 'opaque_function', /mood_number\(/, { select: 'select id, mood::integer as m from posts' }],
        [
          'a function within a view',
          'opaque_function',
          /in the view .*hidden.*opaque/,
          { select: 'select id, o from hidden', changedBy: { posts: 'id' } },
        ],
        [
          'a function within a BEGIN ATOMIC function',
          'opaque_function',
          /in the function .*outer_one.*opaque/,
          { select: 'select id, outer_one(id) as o from posts' },
        ],
        [
          'a BEGIN ATOMIC function that is VOLATILE',
          'volatile_function',
          /declare it STABLE/,
          { select: 'select id, careless(id) as o from posts' },
        ],
        [
          'a VOLATILE function even if vouched for',
          'volatile_function',
          /shaky/,
          { select: 'select id, shaky(id) as o from posts', reads: ['posts'] },
        ],
        ['the constant now', 'reads_environment', /'now'/, { select: `select id from posts where published_at < 'now'::timestamptz` }],
        ['the constant today with a time', 'reads_environment', /today/, { select: `select id, timestamp ' today 12:00' as t from posts` }],
        [
          'the constant now by way of text',
          'reads_environment',
          /constant/,
          { select: `select id, 'now'::text::timestamptz as t from posts` },
        ],
        ['a table in "reads" that does not exist', 'unknown_table', /nowhere/, { select: 'select id from posts', reads: ['nowhere'] }],
        [
          'a table in "reads" that is not mapped',
          'uncovered_table',
          /likes/,
          { select: 'select id, opaque(id) as o from posts', reads: ['likes'] },
        ],
      ])('%s', async (_title, code, message, asked) => {
        const found = await refusals(asked)
        expect(found.codes).toContain(code)
        expect(found.message).toMatch(message)
        expect(found.message).toMatch(/^materialized view sample: /)
      })

      test.each([
        'now()',
        'transaction_timestamp()',
        'statement_timestamp()',
        'clock_timestamp()',
        'timeofday()',
        'age(published_at)',
        `current_setting('TimeZone')`,
        'current_date',
        'current_time',
        'current_timestamp',
        'localtime',
        'localtimestamp(3)',
        'current_user',
        'session_user',
        'current_role',
        'current_catalog',
        'current_schema',
        'current_schemas(true)',
        'current_database()',
        'current_query()',
        'version()',
        'pg_backend_pid()',
        'txid_current()',
        'pg_current_xact_id()::text',
        'pg_current_snapshot()::text',
        'pg_snapshot_xmin(pg_current_snapshot())::text',
        'inet_server_port()',
        'inet_client_addr()',
        'pg_current_wal_lsn()',
        'pg_postmaster_start_time()',
        `has_table_privilege('posts', 'select')`,
        'random()',
        'gen_random_uuid()',
        `nextval('counter')`,
        `currval('counter')`,
        'lastval()',
        'pg_sleep(0)::text',
        `to_regclass(body)::text`,
        'body::regclass::text',
        `pg_relation_size('posts')`,
        `obj_description(1, 'pg_class')`,
        `query_to_xml('select 1', true, true, '')::text`,
      ])('%s, wherever it stands', async (expression) => {
        for (const select of [
          `select id, ${expression} as x from posts`,
          `select p.id from posts p where exists (select ${expression} as x from likes l where l.post_id = p.id offset 0)`.replace(
            expression,
            expression.replace('published_at', 'at').replace('body', 'user_id::text'),
          ),
          `with c as (select id, ${expression} as x from posts) select id, x from c`,
        ]) {
          const { codes } = await refusals({ select })
          expect(codes.every((code) => code === 'volatile_function' || code === 'reads_environment')).toBe(true)
        }
      })

      test('every table that is not covered, by name, at once', async () => {
        const found = await refusals({
          select:
            'select p.id, u.name, (select count(*) from likes l where l.post_id = p.id) as n from posts p join users u on u.id = p.author_id',
          changedBy: { posts: 'id' },
        })
        expect(found.codes).toEqual(['uncovered_table', 'uncovered_table'])
        expect([...found.subjects].sort()).toEqual([`${home}.likes`, `${home}.users`])
        expect(found.message).toContain('2 reasons')
      })

      test('a changedBy for a view, naming the tables beneath', async () => {
        const found = await refusals({ select: 'select id, n from popular', changedBy: { popular: 'id' } })
        expect([...found.codes].sort()).toEqual(['table_not_read', 'uncovered_table', 'uncovered_table'])
        expect(found.message).toMatch(/is a view.*posts/)
      })

      test('with the line and column where PostgreSQL saw it', async () => {
        expect((await refusals({ select: 'select id,\n  nothing\nfrom posts' })).message).toContain('at line 2, column 3')
      })

      test('a temporary table', async () => {
        const error = await database
          .transaction(async (client) => {
            await client.query('create temporary table passing (id int primary key) on commit drop')
            const definition = {
              select: 'select id from passing',
              key: ['id'],
              changedBy: { passing: 'id' },
              reads: [],
              indexes: {},
              update: 'async',
              row: undefined as never,
            } as const
            await analyse(client, { name: 'sample', schema: 'headwater_analysis_home', definition })
          })
          .catch((reason: unknown) => reason)
        expect(error).toBeInstanceOf(DefinitionError)
        expect((error as DefinitionError).details).toEqual([{ code: 'temporary_table', subject: 'passing' }])
      })
    })

    describe('under other circumstances', () => {
      const undo = new Error('everything is undone')
      /** Analyses in a transaction that `prepare` began and that leaves nothing behind, roles and extensions included. */
      const runAfter = async (prepare: string, asked: Asked, role?: string): Promise<Analysis> => {
        let analysis: Analysis | undefined
        await database
          .transaction(async (client) => {
            await client.query(prepare)
            if (role !== undefined) await client.query(`set local role ${role}`)
            const { select, key = ['id'], changedBy = mapsFor(select), reads = [] } = asked
            const definition = { select, key, changedBy, reads, indexes: {}, update: 'async', row: undefined as never } as const
            analysis = await analyse(client, { name: 'sample', schema: 'headwater_of_role', definition })
            throw undo
          })
          .catch((error: unknown) => {
            if (error !== undo) throw error
          })
        if (!analysis) throw new Error('there is no analysis')
        return analysis
      }
      const role = `role_${Math.random().toString(36).slice(2)}`
      const withRole = (more = '') => `create role ${role}; create schema headwater_of_role authorization ${role};
        create table ${home}.owned (id int primary key, n int); alter table ${home}.owned owner to ${role};
        grant usage on schema ${home} to ${role}; ${more}`
      const owned: Asked = {
        select: 'select id, n from owned',
        changedBy: { owned: { sql: 'select id from owned where id = $1', params: ['id'] } },
      }

      test('a role that is no superuser and owns its tables can run it', async () => {
        await expect(runAfter(withRole(), owned, role)).resolves.toMatchObject({ key: [{ column: 'id' }] })
      })

      test('row-level security that hides rows from the role is refused', async () => {
        const forced = withRole(`alter table ${home}.owned enable row level security; alter table ${home}.owned force row level security;`)
        await expect(runAfter(forced, owned, role)).rejects.toMatchObject({
          details: [{ code: 'row_security', subject: `${home}.owned` }, { code: 'row_security' }],
        })
        const others = withRole(`alter table ${home}.owned enable row level security;`)
        await expect(runAfter(others, owned, role)).resolves.toMatchObject({ key: [{ column: 'id' }] })
      })

      test('a table that the role may not read is refused', async () => {
        await expect(runAfter(withRole(), { select: 'select id from posts' }, role)).rejects.toMatchObject({
          details: [{ code: 'not_permitted', subject: 'select' }],
        })
      })

      test('a foreign table is refused', async () => {
        const make =
          'create foreign data wrapper nowhere; create server nowhere foreign data wrapper nowhere; create foreign table far (id int) server nowhere'
        await expect(runAfter(make, { select: 'select id from far', changedBy: { far: 'id' } })).rejects.toMatchObject({
          details: [{ code: 'foreign_table' }],
        })
      })

      test.skipIf(target.name === 'pglite')('IMMUTABLE functions of extensions are accepted, STABLE ones are not', async () => {
        const make = `create extension if not exists citext schema ${home}; create extension if not exists pg_trgm schema ${home};
          select set_config('search_path', '${home}, ' || string_agg(distinct extnamespace::regnamespace::text, ', '), true) from pg_extension;
          create table named (id citext primary key, name citext, body text)`
        const asked = (select: string): Asked => ({ select, changedBy: { named: 'id' } })
        await expect(
          runAfter(
            make,
            asked(
              `select id, lower(name) as l, name = 'x' as e, replace(name, 'a', 'b') as r, similarity(body, 'x') as s, name::text || body as t from named`,
            ),
          ),
        ).resolves.toBeDefined()
        await expect(runAfter(make, asked(`select id, body % 'x' as s from named`))).rejects.toMatchObject({
          details: [{ code: 'opaque_function' }],
        })
      })

      test('a schema that is not there is made for the time of the analysis', async () => {
        await expect(runAfter('select 1', { select: 'select id from posts' })).resolves.toMatchObject({
          key: [{ column: 'id', type: 'integer' }],
        })
      })

      test('qualified names stand on their own', async () => {
        const asked = {
          select: `select id from ${home}.posts`,
          changedBy: { [`${home}.posts`]: { sql: `select id from ${home}.posts where id = $1`, params: ['id'] } },
        }
        await expect(runAfter(`set local search_path = ''`, asked)).resolves.toMatchObject({ sources: [{ table: `${home}.posts` }] })
      })
    })

    describe('refuses as not separable by key', () => {
      test.each<[string, string, Asked]>([
        ['an outer LIMIT', 'LIMIT or OFFSET', { select: 'select id from posts order by price limit 3' }],
        ['an outer OFFSET', 'LIMIT or OFFSET', { select: 'select id from posts order by price offset 3' }],
        ['an outer LIMIT over a UNION', 'LIMIT or OFFSET', { select: 'select id from posts union select post_id from likes limit 3' }],
        [
          'LIMIT in a subquery that stands for itself',
          'LIMIT or OFFSET',
          { select: 'select * from (select id from posts order by price limit 3) q' },
        ],
        ['LIMIT in a CTE', 'LIMIT or OFFSET', { select: 'with top as (select id from posts order by price limit 3) select id from top' }],
        ['LIMIT in a view', 'LIMIT or OFFSET', { select: 'select id from top_three', changedBy: { posts: 'id' } }],
        [
          'LIMIT in an IN',
          'LIMIT or OFFSET',
          { select: 'select id from posts where id in (select post_id from likes order by at limit 3)' },
        ],
        [
          'LIMIT in a subquery within one that is tied to the row',
          'LIMIT or OFFSET',
          {
            select:
              'select p.id, (select count(*) from (select post_id from likes order by at limit 9) l where l.post_id = p.id) as n from posts p',
          },
        ],
        [
          'LIMIT in a function',
          'LIMIT or OFFSET',
          { select: 'select p.id, t.tag from posts p join first_tags() t on true', changedBy: { posts: 'id', tags: 'post_id' } },
        ],
        ['a window over everything', 'a window function', { select: 'select id, rank() over (order by price) as n from posts' }],
        [
          'a window partitioned by something else',
          'a window function',
          { select: 'select id, rank() over (partition by author_id order by price) as n from posts' },
        ],
        [
          'one window of two that is not partitioned by the key',
          'a window function',
          {
            select: 'select post_id as id, rank() over (partition by post_id order by at) as n, rank() over (order by at) as m from likes',
          },
        ],
        [
          'a window partitioned by a part of the key',
          'a window function',
          {
            select: 'select post_id, user_id, rank() over (partition by post_id order by at) as n from likes',
            key: ['post_id', 'user_id'],
            changedBy: { likes: ['post_id', 'user_id'] },
          },
        ],
        [
          'a window in a subquery',
          'a window function',
          { select: 'select id from (select id, rank() over (order by price) as n from posts) q where n <= 3' },
        ],
        [
          'a window in a subquery joined by another column',
          'a window function',
          {
            select:
              'select p.id, l.n from posts p join (select user_id, rank() over (partition by user_id order by at) as n from likes) l on l.user_id = p.author_id',
          },
        ],
        [
          'a window in a branch of a UNION',
          'a window function',
          { select: 'select id, 1 as n from posts union all select post_id, row_number() over (order by at) from likes' },
        ],
        [
          'a window in a recursive CTE',
          'a window function',
          {
            select:
              'with recursive up(id, n) as (select id, row_number() over (partition by id) from posts union select id + 1, n from up where id < 9) select id, n from up',
          },
        ],
        [
          'DISTINCT ON something else',
          'DISTINCT ON',
          { select: 'select distinct on (author_id) id, author_id from posts order by author_id, price' },
        ],
        [
          'DISTINCT ON a part of the key',
          'DISTINCT ON',
          {
            select: 'select distinct on (post_id) post_id, user_id from likes order by post_id',
            key: ['post_id', 'user_id'],
            changedBy: { likes: ['post_id', 'user_id'] },
          },
        ],
        [
          'DISTINCT ON in a subquery',
          'DISTINCT ON',
          { select: 'select id from (select distinct on (author_id) id from posts order by author_id, price) q' },
        ],
        [
          'a value for all keys',
          'a subquery that does not depend',
          { select: 'select p.id, (select max(at) from likes) as last from posts p' },
        ],
        ['a test for all keys', 'a subquery that does not depend', { select: 'select p.id from posts p where exists (select from likes)' }],
        [
          'an array for all keys',
          'a subquery that does not depend',
          { select: 'select p.id, array(select tag from tags order by tag) as t from posts p' },
        ],
        [
          'the greatest of all',
          'a subquery that does not depend',
          { select: 'select id from posts where price >= all (select price from posts)' },
        ],
        [
          'a value for all keys in FROM',
          'an aggregate over all rows',
          { select: 'select p.id, t.n from posts p cross join (select count(*) as n from likes) t' },
        ],
        ['one row for all', 'an aggregate over all rows', { select: 'select 1 as id, count(*) as n from posts' }],
        [
          'a key made by an aggregate',
          'last',
          { select: 'select author_id, max(id) as last from posts group by author_id', key: ['last'] },
        ],
        [
          'a key made by an aggregate in a subquery',
          'id',
          { select: 'select id from (select author_id, max(id) as id from posts group by author_id) q' },
        ],
        ['a key made by a window function', 'id', { select: 'select row_number() over (partition by id) as id from posts' }],
      ])('%s', async (_title, subject, asked) => {
        const found = await refusals(asked)
        expect(found.codes).toContain('not_separable')
        expect(found.subjects.some((each) => each.startsWith(subject))).toBe(true)
      })
    })

    describe('advises', () => {
      const adviceFor = async (asked: Asked) => (await run(asked)).advice.join('\n')

      test('an index that recomputing a key lacks, and says if the table is large', async () => {
        const select = 'select p.id, (select count(*) from replies r where r.post_id = p.id) as n from posts p'
        expect(await adviceFor({ select, changedBy: { posts: 'id', replies: 'post_id' } })).toBe(
          `recomputing a key reads all of ${home}.replies (large): create index on ${home}.replies (post_id)`,
        )
      })

      test.each([
        ['a join', 'select p.id, r.body from posts p join replies r on r.post_id = p.id'],
        ['a left join with grouping', 'select p.id, count(r.id) as n from posts p left join replies r on r.post_id = p.id group by p.id'],
        ['a key that is a column without index', 'select post_id as id, count(*) as n from replies group by post_id'],
      ])('an index behind %s', async (_title, select) => {
        expect(await adviceFor({ select, changedBy: { ...(select.includes('posts') && { posts: 'id' }), replies: 'post_id' } })).toContain(
          `create index on ${home}.replies (post_id)`,
        )
      })

      test('an index that an SQL map lacks', async () => {
        const select = 'select p.id, u.name from posts p join users u on u.id = p.author_id'
        expect(await adviceFor({ select })).toBe(
          `the SQL of changedBy for ${home}.users reads all of ${home}.posts: create index on ${home}.posts (author_id)`,
        )
      })

      test.each<[string, Asked]>([
        ['one key', { select: 'select p.id, (select count(*) from likes l where l.post_id = p.id) as n from posts p' }],
        [
          'several keys',
          { select: 'select post_id, user_id, at from likes', key: ['post_id', 'user_id'], changedBy: { likes: ['post_id', 'user_id'] } },
        ],
        [
          'an aggregate over several keys',
          {
            select: 'select post_id, user_id, count(*) as n from likes group by 1, 2',
            key: ['post_id', 'user_id'],
            changedBy: { likes: ['post_id', 'user_id'] },
          },
        ],
        ['partitions', { select: 'select id, n from measured', changedBy: { measured: 'id' } }],
      ])('nothing where indexes serve: %s', async (_title, asked) => {
        expect(await adviceFor(asked)).toBe('')
      })

      test('against reading all of a large table for one key', async () => {
        const select =
          'select p.id, r.n from posts p join (select post_id, count(*) as n from replies group by post_id) r on r.post_id = p.id'
        expect(await adviceFor({ select, changedBy: { posts: 'id', replies: 'post_id' } })).toMatch(
          /reads all of .*replies \(large\): its key does not reach an index/,
        )
      })

      test.each([
        [
          'LIMIT without ORDER BY',
          'select p.id, l.user_id from posts p cross join lateral (select user_id from likes l where l.post_id = p.id limit 3) l',
          /LIMIT/,
        ],
        [
          'LIMIT behind ties',
          'select p.id, l.user_id from posts p cross join lateral (select user_id from likes l where l.post_id = p.id order by at limit 3) l',
          /LIMIT/,
        ],
        ['array_agg without ORDER BY', 'select post_id as id, array_agg(user_id) as u from likes group by 1', /array_agg/],
        [
          'string_agg without ORDER BY',
          `select p.id, (select string_agg(tag, ',') from tags t where t.post_id = p.id) as t from posts p`,
          /string_agg/,
        ],
        [
          'a map by a column that is not tied to the key',
          'select p.id, x.body from posts p join posts x on x.author_id = p.author_id',
          /posts by its column id/,
        ],
      ])('against %s', async (_title, select, message) => {
        expect(await adviceFor({ select })).toMatch(message)
      })

      test.each([
        [
          'LIMIT behind a primary key',
          'select p.id, l.user_id from posts p cross join lateral (select user_id from likes l where l.post_id = p.id order by at, user_id limit 3) l',
        ],
        ['EXISTS with LIMIT', 'select p.id from posts p where exists (select from likes l where l.post_id = p.id limit 1)'],
        ['aggregates with ORDER BY', 'select post_id as id, array_agg(user_id order by user_id) as u, count(*) as n from likes group by 1'],
        [
          'aggregates over a sorted subquery',
          'select p.id, (select array_agg(tag) from (select tag from tags t where t.post_id = p.id order by tag) t) as t from posts p',
        ],
      ])('nothing against %s', async (_title, select) => {
        expect(await adviceFor({ select })).not.toMatch(/LIMIT|_agg|by its column/)
      })
    })
  })
}
