import type { Database, Transaction } from 'headwater'
import { schema } from '../schema.ts'
import { type Community, type CommunitySize, makeCommunity } from './community.ts'

export const defaultSize: CommunitySize = { users: 2000, posts: 10_000, replies: 10_000, likes: 100_000, follows: 100_000 }

export interface PrepareOptions {
  /** What to fill an empty database with; left out: nothing. */
  readonly size?: CommunitySize
  readonly seed?: number
  readonly now?: Date
  readonly print?: (line: string) => void
}

/**
 * Creates the tables that are not there yet and, when nobody is registered, fills them. All of it is one transaction: interrupted at any moment, it
 * begins again from nothing. A second process that starts meanwhile waits for the lock and then finds everything done.
 *
 * This is the bulk door: a quarter of a million rows in a few statements, written before the application starts and its read models are built, because
 * keeping a read model in step row by row is far more work than building it once.
 */
export async function prepareDatabase(database: Database, options: PrepareOptions = {}): Promise<void> {
  await database.query('create schema if not exists microblog')
  await database.transaction(async (transaction) => {
    await transaction.query('select pg_advisory_xact_lock(hashtext($1))', ['headwater example: microblog'])
    await transaction.query(schema)
    if (!options.size) return
    const { rows } = await transaction.query<{ empty: boolean }>('select not exists (select from users) as empty')
    if (rows[0]?.empty) await fill(transaction, options.size, options)
  })
}

async function fill(transaction: Transaction, size: CommunitySize, options: PrepareOptions): Promise<void> {
  const { seed = 4000, now = new Date(), print = () => {} } = options
  const beganAt = Date.now()
  print('The database is empty: making up a community to look at (SEED=none skips this).')
  const community = makeCommunity(size, seed, now)
  const progress = (count: number, what: string) => {
    const seconds = ((Date.now() - beganAt) / 1000).toFixed(1)
    print(`  ${count.toLocaleString('en').padStart(9)} ${what.padEnd(8)}${seconds.padStart(5)} s`)
  }
  await insertPeople(transaction, community)
  progress(community.people.length, 'users')
  await insertPosts(transaction, community)
  progress(community.posts.length, 'posts')
  await insertLikes(transaction, community)
  progress(community.likes.length, 'likes')
  await insertFollows(transaction, community)
  progress(community.follows.length, 'follows')
  await transaction.query('analyze users, posts, replies, likes, follows')
}

async function insertPeople(transaction: Transaction, { people }: Community): Promise<void> {
  await inBatches(people, (batch) =>
    transaction.query('insert into users (id, name, registered_at) select * from unnest ($1::uuid[], $2::text[], $3::timestamptz[])', [
      batch.map(({ id }) => id),
      batch.map(({ name }) => name),
      batch.map(({ registeredAt }) => registeredAt.toISOString()),
    ]),
  )
}

async function insertPosts(transaction: Transaction, { posts }: Community): Promise<void> {
  await inBatches(posts, (batch) =>
    transaction.query(
      'insert into posts (id, author_id, body, published_at) select * from unnest ($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[])',
      [
        batch.map(({ id }) => id),
        batch.map(({ author }) => author.id),
        batch.map(({ body }) => body),
        batch.map(({ publishedAt }) => publishedAt.toISOString()),
      ],
    ),
  )
  const replies = posts.flatMap(({ id, inReplyTo }) => (inReplyTo ? [{ id, parent: inReplyTo.id }] : []))
  await inBatches(replies, (batch) =>
    transaction.query('insert into replies (reply_id, in_reply_to) select * from unnest ($1::uuid[], $2::uuid[])', [
      batch.map(({ id }) => id),
      batch.map(({ parent }) => parent),
    ]),
  )
}

async function insertLikes(transaction: Transaction, { likes }: Community): Promise<void> {
  await inBatches(likes, (batch) =>
    transaction.query('insert into likes (post_id, user_id, liked_at) select * from unnest ($1::uuid[], $2::uuid[], $3::timestamptz[])', [
      batch.map(({ post }) => post.id),
      batch.map(({ person }) => person.id),
      batch.map(({ at }) => at.toISOString()),
    ]),
  )
}

async function insertFollows(transaction: Transaction, { follows }: Community): Promise<void> {
  await inBatches(follows, (batch) =>
    transaction.query(
      'insert into follows (follower_id, followee_id, followed_at) select * from unnest ($1::uuid[], $2::uuid[], $3::timestamptz[])',
      [batch.map(({ follower }) => follower.id), batch.map(({ followee }) => followee.id), batch.map(({ at }) => at.toISOString())],
    ),
  )
}

async function inBatches<T>(items: readonly T[], write: (batch: readonly T[]) => Promise<unknown>): Promise<void> {
  const size = 5000
  for (let start = 0; start < items.length; start += size) await write(items.slice(start, start + size))
}
