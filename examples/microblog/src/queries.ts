import { query } from 'headwater'
import { z } from 'zod'
import { cursorOf, encodeCursor } from './cursor.ts'
import { postSearch, publishedPosts, userProfiles } from './read-models.ts'
import { markedSnippet, markers } from './snippet.ts'

const id = z.uuid()
const limit = z.int().min(1).max(100).default(20)
const next = z.string().max(500).nullish()
const time = z.iso.datetime()

/** A post as a client gets it. */
export interface Item {
  readonly postId: string
  readonly authorId: string
  readonly author: string
  readonly body: string
  readonly inReplyTo: string | null
  readonly likes: number
  readonly replies: number
  readonly publishedAt: string
}

interface PostRow {
  readonly post_id: string
  readonly author_id: string
  readonly author: string
  readonly body: string
  readonly in_reply_to: string | null
  readonly likes: number
  readonly replies: number
  readonly published_at: string
}

interface ProfileRow {
  readonly user_id: string
  readonly name: string
  readonly posts: number
  readonly replies: number
  readonly followers: number
  readonly following: number
  readonly likes: number
  readonly registered_at: string
}

const newestFirst = { published_at: 'desc', post_id: 'desc' } as const

/** Everybody's posts that are no replies, newest first. */
export const timeline = query('timeline', {
  input: z.object({ limit, before: next }),
  reads: { publishedPosts },
  async execute({ limit, before }, { publishedPosts }) {
    return toPage(await publishedPosts.find({ where: { is_reply: false }, orderBy: newestFirst, limit, after: before }))
  },
})

/**
 * The same of the people one follows: the newest few of each, merged. The ids come from the index `byAuthor` alone (whose order, read backwards, has nulls
 * last), and only the rows of the page itself are read.
 */
export const homeTimeline = query('homeTimeline', {
  input: z.object({ userId: id, limit, before: cursorOf(z.tuple([time, id])) }),
  reads: { publishedPosts },
  async execute({ userId, limit, before }, { publishedPosts, sql }) {
    const [publishedAt, postId] = before ?? ['infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff']
    // Two posts of each are nearly always enough for a page; more are looked for only of those whose two are both on it.
    const rows = await sql<PostRow>`
      with first as materialized (
        select follows.followee_id, post.*
        from follows cross join lateral (
          select p.post_id, p.published_at, row_number() over () as nth
          from (
            select post_id, published_at from ${publishedPosts}
            where author_id = follows.followee_id and not is_reply
              and (published_at, post_id) < (${publishedAt}::timestamptz, ${postId}::uuid)
            order by published_at desc nulls last, post_id desc nulls last
            limit 2
          ) p
        ) post
        where follows.follower_id = ${userId}
      ),
      cut as materialized (select * from first order by published_at desc, post_id desc limit ${limit + 1}),
      more as (
        select post.post_id, post.published_at
        from cut cross join lateral (
          select post_id, published_at from ${publishedPosts}
          where author_id = cut.followee_id and not is_reply and (published_at, post_id) < (cut.published_at, cut.post_id)
          order by published_at desc nulls last, post_id desc nulls last
          limit ${limit - 1}
        ) post
        where cut.nth = 2
      ),
      newest as (
        select post_id from (select post_id, published_at from cut union all select post_id, published_at from more) found
        order by published_at desc, post_id desc
        limit ${limit + 1}
      )
      select post.* from newest join ${publishedPosts} post using (post_id)
      order by post.published_at desc, post.post_id desc`
    const items = rows.slice(0, limit).map(toItem)
    const last = items.at(-1)
    return { items, next: last && rows.length > limit ? encodeCursor([last.publishedAt, last.postId]) : null }
  },
})

export const post = query('post', {
  input: z.object({ postId: id }),
  reads: { publishedPosts },
  async execute({ postId }, { publishedPosts }) {
    const row = await publishedPosts.get(postId)
    return row ? toItem(row) : null
  },
})

/** The replies to a post, oldest first. */
export const replies = query('replies', {
  input: z.object({ postId: id, limit, after: next }),
  reads: { publishedPosts },
  async execute({ postId, limit, after }, { publishedPosts }) {
    const page = await publishedPosts.find({
      where: { in_reply_to: postId },
      orderBy: { published_at: 'asc', post_id: 'asc' },
      limit,
      after,
    })
    return toPage(page)
  },
})

/** What one person wrote, newest first: posts, or replies. */
export const userPosts = query('userPosts', {
  input: z.object({ userId: id, replies: z.boolean().default(false), limit, before: next }),
  reads: { publishedPosts },
  async execute({ userId, replies, limit, before }, { publishedPosts }) {
    const where = { author_id: userId, is_reply: replies }
    return toPage(await publishedPosts.find({ where, orderBy: newestFirst, limit, after: before }))
  },
})

/**
 * Posts whose words or author's name match, best first. Understands "quoted phrases", or, and -without; the last word may be unfinished.
 * `post_search` finds and ranks, `published_posts` has what a hit shows.
 */
export const searchPosts = query('searchPosts', {
  input: z.object({ text: z.string().max(200), limit, after: cursorOf(z.tuple([z.string().regex(/^[0-9.e+-]+$/), time, id])) }),
  reads: { postSearch, publishedPosts },
  async execute({ text, limit, after }, { postSearch, publishedPosts, sql }) {
    const [rank, publishedAt, postId] = after ?? ['infinity', 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff']
    const rows = await sql<PostRow & { rank: string }>`
      with parsed as materialized (select websearch_to_tsquery('simple', ${text}) as words),
        asked as materialized (
          select case when words::text like '%''' then (words::text || ':*')::tsquery else words end as words from parsed
        ),
        hits as (
          select post_id, published_at, ts_rank_cd(terms, words) as rank
          from ${postSearch}, asked
          where terms @@ words
        ),
        page as (
          select * from hits
          where (rank, published_at, post_id) < (${rank}::real, ${publishedAt}::timestamptz, ${postId}::uuid)
          order by rank desc, published_at desc, post_id desc
          limit ${limit + 1}
        )
      select post.post_id, post.author_id, post.author, post.in_reply_to, post.likes, post.replies, page.published_at,
        page.rank::text as rank, ts_headline('simple', translate(post.body, ${markers.all}, ''), words, ${markers.options}) as body
      from page
      join ${publishedPosts} post using (post_id)
      cross join asked
      order by page.rank desc, page.published_at desc, page.post_id desc`
    const items = rows.slice(0, limit).map(toHit)
    const last = rows[limit - 1]
    return { items, next: last && rows.length > limit ? encodeCursor([last.rank, last.published_at, last.post_id]) : null }
  },
})

export const profile = query('profile', {
  input: z.object({ userId: id }),
  reads: { userProfiles },
  async execute({ userId }, { userProfiles }) {
    const row = await userProfiles.get(userId)
    return row ? toProfile(row) : null
  },
})

/** People: the most followed first, or those whose name begins with `text`, in order of name. */
export const people = query('people', {
  input: z.object({ text: z.string().max(50).default(''), limit }),
  reads: { userProfiles },
  async execute({ text, limit }, { userProfiles }) {
    const begun = { gte: text, lt: `${text}\u{10ffff}` }
    const page = text
      ? await userProfiles.find({ where: { name: begun }, orderBy: { name: 'asc', user_id: 'asc' }, limit })
      : await userProfiles.find({ orderBy: { followers: 'desc', user_id: 'desc' }, limit })
    return { items: page.items.map(toProfile) }
  },
})

/** What is personal on a page: which of its posts one likes, and which of its people one follows. */
export const mine = query('mine', {
  input: z.object({ userId: id, postIds: z.array(id).max(200).default([]), userIds: z.array(id).max(200).default([]) }),
  reads: {},
  async execute({ userId, postIds, userIds }, { sql }) {
    const [liked, following] = [
      await sql<{ id: string }>`select post_id as id from likes where user_id = ${userId} and post_id = any(${postIds}::uuid[])`,
      await sql<{
        id: string
      }>`select followee_id as id from follows where follower_id = ${userId} and followee_id = any(${userIds}::uuid[])`,
    ]
    return { liked: liked.map(({ id }) => id), following: following.map(({ id }) => id) }
  },
})

function toPage(page: { readonly items: readonly PostRow[]; readonly next: string | null }) {
  return { items: page.items.map(toItem), next: page.next }
}

function toItem(row: PostRow): Item {
  return {
    postId: row.post_id,
    authorId: row.author_id,
    author: row.author,
    body: row.body,
    inReplyTo: row.in_reply_to,
    likes: row.likes,
    replies: row.replies,
    publishedAt: row.published_at,
  }
}

function toHit(row: PostRow) {
  const { body, ...item } = toItem(row)
  return { ...item, snippet: markedSnippet(body) }
}

function toProfile(row: ProfileRow) {
  const { user_id, registered_at, ...counts } = row
  return { userId: user_id, ...counts, registeredAt: registered_at }
}
