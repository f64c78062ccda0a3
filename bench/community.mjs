import { command, materializedView, query } from 'headwater'
import { z } from 'zod'

/*
 * The micro-blog of `examples/microblog`, with one difference in favour of the other side: replies are a table of their own and no posts, so that a
 * hand-written home page finds its posts in an index, without an anti-join.
 */

/** @typedef {{ users: number, posts: number, replies: number, likes: number, follows: number }} Size */

/** SQL for a rank from 1 to `n` after Zipf's law: the second is half as likely as the first. @param {number} n */
const zipf = (n) => `least(${n}, floor(exp(random() * ln(${n} + 1)))::int)`

/**
 * Creates the tables in `schema` and fills them: a post a minute, by everybody in turn. Whom one follows, and which of a person's posts one likes
 * or answers (the newest most), goes by Zipf's law; likes and replies come from followers. Who is popular has nothing to do with when they write. Ids are `idOf('user', n)` and `idOf('post', n)`; the
 * same size makes the same data.
 * @param {import('pg').Pool} pool
 * @param {string} schema
 * @param {Size} size
 */
export async function createCommunity(pool, schema, { users, posts, replies, likes, follows }) {
  const client = await pool.connect()
  const each = Math.floor(posts / users)
  /** So many picks of a post by a follower of its author. @param {number} picks */
  const picked = (picks) => `(
    select follower, ${users} * (${each} - ${zipf(each)}) + followee as post
    from (select 1 + floor(random() * (select count(*) from edges))::int as n from generate_series(1, ${picks}) offset 0) s join edges using (n)) p`
  await client.query(
    `create schema ${schema}; set search_path = ${schema}; set maintenance_work_mem = '256MB'; set work_mem = '64MB'; select setseed(0.5)`,
  )
  await client.query(`
    create table users (id uuid primary key, name text not null);
    insert into users select md5('user' || n)::uuid, 'user ' || n from generate_series(1, ${users}) n;
    create table posts (id uuid primary key, author_id uuid not null, body text not null, published_at timestamptz not null);
    insert into posts
      select md5('post' || n)::uuid, md5('user' || 1 + (n - 1) % ${users})::uuid, 'post ' || n || ' ' || repeat(md5(n::text) || ' ', 4),
        timestamptz '2024-01-01' + n * interval '1 minute'
      from generate_series(1, ${posts}) n;
    create index posts_by_author on posts (author_id);
    create temporary table edges as
      select row_number() over () as n, follower, followee
      from (select distinct 1 + floor(random() * ${users})::int as follower, 1 + ${zipf(users)} * 7919 % ${users} as followee from generate_series(1, ${follows * 3}) n) s
      where follower <> followee limit ${follows};
    analyze edges;
    create table follows (follower_id uuid not null, followee_id uuid not null, primary key (follower_id, followee_id));
    insert into follows select md5('user' || follower)::uuid, md5('user' || followee)::uuid from edges;
    create table likes (post_id uuid not null, user_id uuid not null);
    insert into likes select md5('post' || post)::uuid, md5('user' || follower)::uuid from (select distinct post, follower from ${picked(likes * 2)} limit ${likes}) s;
    alter table likes add primary key (post_id, user_id);
    create table replies (id uuid primary key, post_id uuid not null, author_id uuid not null, body text not null);
    insert into replies
      select md5('reply' || row_number() over ())::uuid, md5('post' || post)::uuid, md5('user' || follower)::uuid, 'a reply' from ${picked(replies)};
    create index replies_by_post on replies (post_id);
    drop table edges`)
  await client.query('vacuum analyze users, posts, replies, likes, follows')
  client.release(true)
}

const select = `
  select p.id as post_id, p.author_id, u.name as author, p.body,
    (select count(*) from likes l where l.post_id = p.id) as likes,
    (select count(*) from replies r where r.post_id = p.id) as replies,
    p.published_at
  from posts p
  join users u on u.id = p.author_id`

/** What a page shows of a post, as a SELECT over the tables. */
export const publishedPostsSelect = select

/** @param {'sync' | 'async'} update */
export function publishedPosts(update) {
  return materializedView('published_posts', {
    row: z.object({
      post_id: z.guid(),
      author_id: z.guid(),
      author: z.string(),
      body: z.string(),
      likes: z.int(),
      replies: z.int(),
      published_at: z.string(),
    }),
    key: 'post_id',
    select,
    changedBy: {
      posts: 'id',
      likes: 'post_id',
      replies: 'post_id',
      users: { sql: 'select id from posts where author_id = $1', params: ['id'] },
    },
    indexes: {
      newest: ['published_at'],
      byAuthor: ['author_id', 'published_at'],
    },
    update,
  })
}

/**
 * The newest 21 posts of those one follows, in two steps: two of each first, which is nearly always enough, and more only of those whose two are
 * both on the page. $1: the user. Every side finds its posts so.
 * @param {unknown} table @param {string} id its column that names the post
 */
const newestOfFollowed = (table, id) => `
  first as materialized (
    select follows.followee_id, post.*
    from follows cross join lateral (
      select p.${id} as post_id, p.published_at, row_number() over () as nth
      from (select ${id}, published_at from ${table} where author_id = follows.followee_id order by published_at desc nulls last, ${id} desc nulls last limit 2) p
    ) post
    where follows.follower_id = $1
  ),
  cut as materialized (select * from first order by published_at desc, post_id desc limit 21),
  more as (
    select post.${id} as post_id, post.published_at
    from cut cross join lateral (
      select ${id}, published_at from ${table}
      where author_id = cut.followee_id and (published_at, ${id}) < (cut.published_at, cut.post_id)
      order by published_at desc nulls last, ${id} desc nulls last limit 19
    ) post
    where cut.nth = 2
  ),
  newest as (
    select post_id, published_at from (select post_id, published_at from cut union all select post_id, published_at from more) found
    order by published_at desc, post_id desc limit 21
  )`

/**
 * The home page over the read table. $1: the user.
 * @param {unknown} table
 */
const homePageSql = (table) => `
  with ${newestOfFollowed(table, 'post_id')}
  select post.* from newest join ${table} post using (post_id)
  order by post.published_at desc, post.post_id desc`

/** The same page by hand: over the read table; by the best join there is; by the join that one would write first. @param {string} table */
export const homePagesByHand = (table) => ({
  readTable: homePageSql(table),
  bestJoin: `
    with ${newestOfFollowed('posts', 'id')}
    select p.id as post_id, p.author_id, u.name as author, p.body,
      (select count(*) from likes l where l.post_id = p.id) as likes,
      (select count(*) from replies r where r.post_id = p.id) as replies,
      p.published_at
    from newest join posts p on p.id = newest.post_id join users u on u.id = p.author_id
    order by p.published_at desc, p.id desc`,
  groupBy: `
    select p.id as post_id, p.author_id, u.name as author, p.body,
      count(l.user_id) as likes, (select count(*) from replies r where r.post_id = p.id) as replies, p.published_at
    from follows f
    join posts p on p.author_id = f.followee_id
    join users u on u.id = p.author_id
    left join likes l on l.post_id = p.id
    where f.follower_id = $1
    group by p.id, u.name
    order by p.published_at desc, p.id desc
    limit 21`,
})

/** Indexes that only the hand-written pages need. */
export const handIndexes = `
  create index posts_home on posts (author_id, published_at desc nulls last, id desc nulls last)`

const id = z.guid()

/** @param {ReturnType<typeof publishedPosts>} view */
export function queriesOver(view) {
  return {
    post: query('post', {
      input: z.object({ postId: id }),
      reads: { posts: view },
      execute: async ({ postId }, { posts }) => (await posts.get(postId)) ?? null,
    }),
    homeTimeline: query('homeTimeline', {
      input: z.object({ userId: id, limit: z.int().min(1).max(100).default(20) }),
      reads: { posts: view },
      async execute({ userId, limit }, { posts, sql }) {
        const rows = await sql`
          with first as materialized (
            select follows.followee_id, post.*
            from follows cross join lateral (
              select p.post_id, p.published_at, row_number() over () as nth
              from (
                select post_id, published_at from ${posts} where author_id = follows.followee_id
                order by published_at desc nulls last, post_id desc nulls last limit 2
              ) p
            ) post
            where follows.follower_id = ${userId}
          ),
          cut as materialized (select * from first order by published_at desc, post_id desc limit ${limit + 1}),
          more as (
            select post.post_id, post.published_at
            from cut cross join lateral (
              select post_id, published_at from ${posts}
              where author_id = cut.followee_id and (published_at, post_id) < (cut.published_at, cut.post_id)
              order by published_at desc nulls last, post_id desc nulls last limit ${limit - 1}
            ) post
            where cut.nth = 2
          ),
          newest as (
            select post_id, published_at from (select post_id, published_at from cut union all select post_id, published_at from more) found
            order by published_at desc, post_id desc limit ${limit + 1}
          )
          select post.* from newest join ${posts} post using (post_id)
          order by post.published_at desc, post.post_id desc`
        const items = rows.slice(0, limit).map(toItem)
        const last = rows.length > limit ? items.at(-1) : undefined
        return { items, next: last ? Buffer.from(JSON.stringify([last.publishedAt, last.postId])).toString('base64url') : null }
      },
    }),
  }
}

/** @param {Readonly<Record<string, unknown>>} row */
function toItem(row) {
  return {
    postId: row.post_id,
    authorId: row.author_id,
    author: row.author,
    body: row.body,
    likes: row.likes,
    replies: row.replies,
    publishedAt: row.published_at,
  }
}

export const like = command('like', {
  input: z.object({ postId: id, userId: id }),
  async execute({ postId, userId }, { sql }) {
    await sql`
      with post as (select id from posts where id = ${postId} for key share),
        person as (select id from users where id = ${userId} for key share)
      insert into likes (post_id, user_id) select post.id, person.id from post, person on conflict do nothing`
  },
})

export const editPost = command('editPost', {
  input: z.object({ postId: id, body: z.string() }),
  async execute({ postId, body }, { sql }) {
    await sql`update posts set body = ${body} where id = ${postId}`
  },
})

export const renameUser = command('renameUser', {
  input: z.object({ userId: id, name: z.string() }),
  async execute({ userId, name }, { sql }) {
    await sql`update users set name = ${name} where id = ${userId}`
  },
})

export const commands = { like, editPost, renameUser }
