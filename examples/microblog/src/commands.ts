import { command, reject } from 'headwater'
import { z } from 'zod'

/*
 * Each command is one statement. It looks for the rows it refers to, locks them against deletion as a foreign key would (`for key share`), writes
 * only if they are there, and says what it found, so that a refusal costs no second round trip and no race slips between the look and the write.
 */

const id = z.uuid()
const name = z.string().min(1).max(50).regex(/\S/, 'is blank')
const body = z.string().min(1).max(500).regex(/\S/, 'is blank')

export const registerUser = command('registerUser', {
  input: z.object({ userId: id, name }),
  async execute({ userId, name }, { sql }) {
    const registered = await sql`insert into users (id, name) values (${userId}, ${name}) on conflict (id) do nothing returning id`
    if (registered.length === 0) throw reject('already_exists', { userId })
  },
})

export const renameUser = command('renameUser', {
  input: z.object({ userId: id, name }),
  async execute({ userId, name }, { sql }) {
    const renamed = await sql`update users set name = ${name} where id = ${userId} returning id`
    if (renamed.length === 0) throw reject('unknown_user', { userId })
  },
})

export const publishPost = command('publishPost', {
  input: z.object({ postId: id, authorId: id, body }),
  async execute({ postId, authorId, body }, { sql }) {
    const [found] = await sql<{ author: boolean; published: boolean }>`
      with author as (select id from users where id = ${authorId} for key share),
        published as (
          insert into posts (id, author_id, body) select ${postId}, id, ${body} from author on conflict (id) do nothing returning id
        )
      select exists (select from author) as author, exists (select from published) as published`
    if (!found?.author) throw reject('unknown_user', { userId: authorId })
    if (!found.published) throw reject('already_exists', { postId })
  },
})

export const editPost = command('editPost', {
  input: z.object({ postId: id, body }),
  async execute({ postId, body }, { sql }) {
    const edited = await sql`update posts set body = ${body} where id = ${postId} returning id`
    if (edited.length === 0) throw reject('unknown_post', { postId })
  },
})

/** Takes the post's likes with it. Replies to it stay, as posts of their own. */
export const deletePost = command('deletePost', {
  input: z.object({ postId: id }),
  async execute({ postId }, { sql }) {
    const deleted = await sql`delete from posts where id = ${postId} returning id`
    if (deleted.length === 0) throw reject('unknown_post', { postId })
  },
})

export const reply = command('reply', {
  input: z.object({ postId: id, inReplyTo: id, authorId: id, body }),
  async execute({ postId, inReplyTo, authorId, body }, { sql }) {
    const [found] = await sql<{ author: boolean; parent: boolean; published: boolean }>`
      with author as (select id from users where id = ${authorId} for key share),
        parent as (select id from posts where id = ${inReplyTo} for key share),
        published as (
          insert into posts (id, author_id, body) select ${postId}, author.id, ${body} from author, parent
          on conflict (id) do nothing returning id
        ),
        linked as (insert into replies (reply_id, in_reply_to) select published.id, parent.id from published, parent)
      select exists (select from author) as author, exists (select from parent) as parent, exists (select from published) as published`
    if (!found?.author) throw reject('unknown_user', { userId: authorId })
    if (!found.parent) throw reject('unknown_post', { postId: inReplyTo })
    if (!found.published) throw reject('already_exists', { postId })
  },
})

/** Liking a post twice changes nothing. */
export const like = command('like', {
  input: z.object({ postId: id, userId: id }),
  async execute({ postId, userId }, { sql }) {
    const [found] = await sql<{ post: boolean; person: boolean }>`
      with post as (select id from posts where id = ${postId} for key share),
        person as (select id from users where id = ${userId} for key share),
        liked as (insert into likes (post_id, user_id) select post.id, person.id from post, person on conflict do nothing)
      select exists (select from post) as post, exists (select from person) as person`
    if (!found?.person) throw reject('unknown_user', { userId })
    if (!found.post) throw reject('unknown_post', { postId })
  },
})

/** Taking back a like that is not there changes nothing. */
export const unlike = command('unlike', {
  input: z.object({ postId: id, userId: id }),
  async execute({ postId, userId }, { sql }) {
    const [found] = await sql<{ post: boolean; person: boolean }>`
      with unliked as (delete from likes where post_id = ${postId} and user_id = ${userId})
      select exists (select from posts where id = ${postId}) as post, exists (select from users where id = ${userId}) as person`
    if (!found?.person) throw reject('unknown_user', { userId })
    if (!found.post) throw reject('unknown_post', { postId })
  },
})

/** Following someone twice changes nothing. */
export const follow = command('follow', {
  input: z.object({ userId: id, followeeId: id }),
  async execute({ userId, followeeId }, { sql }) {
    const [found] = await sql<{ follower: boolean; followee: boolean }>`
      with follower as (select id from users where id = ${userId} for key share),
        followee as (select id from users where id = ${followeeId} for key share),
        followed as (
          insert into follows (follower_id, followee_id) select follower.id, followee.id from follower, followee on conflict do nothing
        )
      select exists (select from follower) as follower, exists (select from followee) as followee`
    if (!found?.follower) throw reject('unknown_user', { userId })
    if (!found.followee) throw reject('unknown_user', { userId: followeeId })
  },
})

/** Unfollowing someone one does not follow changes nothing. */
export const unfollow = command('unfollow', {
  input: z.object({ userId: id, followeeId: id }),
  async execute({ userId, followeeId }, { sql }) {
    const [found] = await sql<{ follower: boolean; followee: boolean }>`
      with unfollowed as (delete from follows where follower_id = ${userId} and followee_id = ${followeeId})
      select exists (select from users where id = ${userId}) as follower, exists (select from users where id = ${followeeId}) as followee`
    if (!found?.follower) throw reject('unknown_user', { userId })
    if (!found.followee) throw reject('unknown_user', { userId: followeeId })
  },
})
