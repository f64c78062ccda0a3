import { materializedView } from 'headwater'
import { z } from 'zod'

/** A post as pages show it, ready to be read: no join, no count. Kept in the writer's own transaction. */
export const publishedPosts = materializedView('published_posts', {
  row: z.object({
    post_id: z.uuid(),
    author_id: z.uuid(),
    author: z.string(),
    body: z.string(),
    is_reply: z.boolean(),
    in_reply_to: z.uuid().nullable(),
    likes: z.int(),
    replies: z.int(),
    published_at: z.string(),
  }),
  key: 'post_id',
  select: `
    select p.id as post_id, p.author_id, u.name as author, p.body,
      parent.reply_id is not null as is_reply, parent.in_reply_to,
      (select count(*) from likes l where l.post_id = p.id) as likes,
      (select count(*) from replies r where r.in_reply_to = p.id) as replies,
      p.published_at
    from posts p
    join users u on u.id = p.author_id
    left join replies parent on parent.reply_id = p.id`,
  changedBy: {
    posts: 'id',
    likes: 'post_id',
    replies: { sql: 'select $1::uuid union all select $2::uuid', params: ['reply_id', 'in_reply_to'] },
    users: { sql: 'select id from posts where author_id = $1', params: ['id'] },
  },
  indexes: {
    newest: ['is_reply', 'published_at'],
    byAuthor: ['author_id', 'is_reply', 'published_at'],
    threads: ['in_reply_to', 'published_at'],
  },
  update: 'sync',
})

/** What can be found of a post: the words of its body and its author's name, indexed. What a hit shows stands in `published_posts`. */
export const postSearch = materializedView('post_search', {
  row: z.object({ post_id: z.uuid(), terms: z.string(), published_at: z.string() }),
  key: 'post_id',
  select: `
    select p.id as post_id,
      setweight(to_tsvector('simple', p.body), 'A') || setweight(to_tsvector('simple', u.name), 'B') as terms,
      p.published_at
    from posts p
    join users u on u.id = p.author_id`,
  changedBy: {
    posts: 'id',
    users: { sql: 'select id from posts where author_id = $1', params: ['id'] },
  },
  indexes: { terms: ['terms'] },
  update: 'async',
})

/** A person with the counts a profile shows. */
export const userProfiles = materializedView('user_profiles', {
  row: z.object({
    user_id: z.uuid(),
    name: z.string(),
    posts: z.int(),
    replies: z.int(),
    followers: z.int(),
    following: z.int(),
    likes: z.int(),
    registered_at: z.string(),
  }),
  key: 'user_id',
  select: `
    select u.id as user_id, u.name, written.posts, written.replies, written.likes,
      (select count(*) from follows f where f.followee_id = u.id) as followers,
      (select count(*) from follows f where f.follower_id = u.id) as following,
      u.registered_at
    from users u
    cross join lateral (
      select count(*) filter (where r.reply_id is null) as posts,
        count(r.reply_id) as replies,
        coalesce(sum((select count(*) from likes l where l.post_id = p.id)), 0)::bigint as likes
      from posts p
      left join replies r on r.reply_id = p.id
      where p.author_id = u.id
    ) written`,
  changedBy: {
    users: 'id',
    posts: 'author_id',
    replies: { sql: 'select author_id from posts where id = $1', params: ['reply_id'] },
    likes: { sql: 'select author_id from posts where id = $1', params: ['post_id'] },
    follows: { sql: 'select $1::uuid union all select $2::uuid', params: ['follower_id', 'followee_id'] },
  },
  indexes: { byFollowers: ['followers'], byName: ['name'] },
  update: 'async',
})
