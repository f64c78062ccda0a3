import fc from 'fast-check'
import { type Database, type Mode, materializedView, type SqlClient, type as typeOf } from 'headwater'

/** Tables with cascades, a foreign key that moves, and a group that appears and vanishes. */
export const randomTables = `
  create table teams (id int primary key, name text not null);
  create table users (id int primary key, team_id int references teams on delete cascade, name text not null);
  create table posts (id int primary key, author_id int references users on delete cascade, tag text, body text not null);
  create table likes (post_id int references posts on delete cascade, user_id int not null, primary key (post_id, user_id));
  create index on users (team_id); create index on posts (author_id); create index on posts (tag); create index on likes (post_id);
`

export const selects = {
  joined: `select p.id, p.body, u.name as author, (select count(*) from likes l where l.post_id = p.id) as likes from posts p join users u on u.id = p.author_id`,
  two_levels: `select p.id, p.body, u.name as author, t.name as team from posts p join users u on u.id = p.author_id left join teams t on t.id = u.team_id`,
  grouped: `select tag, count(*) as posts, min(body) as least, sum(length(body)) as letters from posts group by tag having count(*) > 0`,
  pairs: `select p.author_id, p.tag, count(l.user_id) as likes from posts p left join likes l on l.post_id = p.id group by p.author_id, p.tag`,
} as const

/** Four shapes: a join with a count, two levels of joins, groups, and groups under a composite key. */
export function randomViews(mode: Mode) {
  const ofAuthor = { sql: 'select id from posts where author_id = $1', params: ['id'] }
  return {
    joined: materializedView('joined', {
      row: typeOf<{ id: number; body: string; author: string; likes: number }>(),
      key: 'id',
      select: selects.joined,
      changedBy: { posts: 'id', likes: 'post_id', users: ofAuthor },
      update: mode,
    }),
    twoLevels: materializedView('two_levels', {
      row: typeOf<{ id: number; body: string; author: string; team: string }>(),
      key: 'id',
      select: selects.two_levels,
      changedBy: {
        posts: 'id',
        users: ofAuthor,
        teams: { sql: 'select p.id from posts p join users u on u.id = p.author_id where u.team_id = $1', params: ['id'] },
      },
      update: mode,
    }),
    grouped: materializedView('grouped', {
      row: typeOf<{ tag: string; posts: number; least: string; letters: number }>(),
      key: 'tag',
      select: selects.grouped,
      changedBy: { posts: 'tag' },
      update: mode,
    }),
    pairs: materializedView('pairs', {
      row: typeOf<{ author_id: number; tag: string; likes: number }>(),
      key: ['author_id', 'tag'],
      select: selects.pairs,
      changedBy: { posts: ['author_id', 'tag'], likes: { sql: 'select author_id, tag from posts where id = $1', params: ['post_id'] } },
      update: mode,
    }),
  }
}

const id = fc.integer({ min: 1, max: 6 })
const word = fc.constantFrom('ann', 'bob', 'cy', 'dee', "o'neill")
const tag = fc.constantFrom('red', 'green', 'blue', null)

/** One statement: insert, update, moved foreign key, multi-row, delete, truncate. */
const write = fc.oneof(
  {
    weight: 2,
    arbitrary: fc
      .tuple(id, word)
      .map(([i, name]) => [`insert into teams values ($1, $2) on conflict (id) do update set name = excluded.name`, i, name]),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(id, id, word)
      .map(([i, team, name]) => [
        `insert into users select $1, (select id from teams where id = $2), $3 on conflict (id) do update set team_id = excluded.team_id, name = excluded.name`,
        i,
        team,
        name,
      ]),
  },
  {
    weight: 6,
    arbitrary: fc
      .tuple(id, id, tag, word)
      .map(([i, user, t, body]) => [
        `insert into posts select $1, u.id, $3, $4 from users u where u.id = $2 on conflict (id) do update set author_id = excluded.author_id, tag = excluded.tag, body = excluded.body`,
        i,
        user,
        t,
        body,
      ]),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(id, id)
      .map(([post, user]) => [`insert into likes select p.id, $2 from posts p where p.id = $1 on conflict do nothing`, post, user]),
  },
  { weight: 2, arbitrary: fc.tuple(id, id).map(([post, user]) => [`delete from likes where post_id = $1 or user_id = $2`, post, user]) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(id, id)
      .map(([from, to]) => [`update posts set author_id = (select id from users where id = $2) where author_id = $1`, from, to]),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(id, id)
      .map(([from, to]) => [
        `update posts set id = $2 where id = $1 and not exists (select from posts where id = $2) and not exists (select from likes where post_id = $1)`,
        from,
        to,
      ]),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(tag, tag).map(([from, to]) => [`update posts set tag = $2 where tag is not distinct from $1`, from, to]),
  },
  { weight: 1, arbitrary: word.map((body) => [`update posts set body = $1`, body]) },
  { weight: 1, arbitrary: fc.constant([`update users set name = upper(name)`]) },
  { weight: 1, arbitrary: id.map((i) => [`delete from posts where id = $1`, i]) },
  { weight: 1, arbitrary: id.map((i) => [`delete from users where id = $1`, i]) },
  { weight: 1, arbitrary: id.map((i) => [`delete from teams where id = $1`, i]) },
  { weight: 1, arbitrary: fc.constant([`truncate likes`]) },
)

export interface RandomTransaction {
  readonly writes: readonly (readonly unknown[])[]
  readonly end: 'commit' | 'rollback' | 'savepoint'
}

export const randomTransactions: fc.Arbitrary<readonly RandomTransaction[]> = fc.array(
  fc.record({
    writes: fc.array(write, { minLength: 1, maxLength: 4 }),
    end: fc.constantFrom('commit', 'commit', 'commit', 'savepoint', 'rollback'),
  }),
  { minLength: 1, maxLength: 12 },
)

class RolledBack extends Error {}

/** Runs one: commits, rolls back, or takes the second half back to a savepoint. Conflicts with other writers roll it back, as they would anybody. */
export async function runTransaction(database: Database, { writes, end }: RandomTransaction): Promise<void> {
  const run = async (client: SqlClient, list: readonly (readonly unknown[])[]) => {
    for (const [text, ...values] of list) await client.query(String(text), values)
  }
  try {
    await database.transaction(async (transaction) => {
      // These writers deadlock with each other as anybody's might; the server should not take a second to notice.
      await transaction.query(`set local deadlock_timeout = '20ms'`)
      const half = Math.ceil(writes.length / 2)
      await run(transaction, writes.slice(0, half))
      await transaction.query('savepoint s')
      await run(transaction, writes.slice(half))
      if (end === 'savepoint') await transaction.query('rollback to savepoint s')
      if (end === 'rollback') throw new RolledBack()
    })
  } catch (error) {
    const state = (error as { sqlState?: string }).sqlState ?? ''
    if (!(error instanceof RolledBack) && !['40001', '40P01', '23503', '23505'].includes(state)) throw error
  }
}

/** The views whose tables are not what their SELECT says, compared by this test's own eyes. */
export async function wrongViews(
  database: Database,
  schema: string,
): Promise<readonly { view: string; expected: unknown; stored: unknown }[]> {
  const wrong: { view: string; expected: unknown; stored: unknown }[] = []
  for (const [view, select] of Object.entries(selects)) {
    const notNull =
      view === 'grouped' ? 'where q.tag is not null' : view === 'pairs' ? 'where q.author_id is not null and q.tag is not null' : ''
    const expected = await database.query(`select to_jsonb(q) as row from (${select}) q ${notNull} order by to_jsonb(q)`)
    const stored = await database.query(`select to_jsonb(q) as row from "${schema}"."${view}" q order by to_jsonb(q)`)
    if (JSON.stringify(expected.rows) !== JSON.stringify(stored.rows)) wrong.push({ view, expected: expected.rows, stored: stored.rows })
  }
  return wrong
}
