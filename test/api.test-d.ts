import { type as ark } from 'arktype'
import { command, headwater, materializedView, query, type Reader, reject, type as typeOf } from 'headwater'
import { pglite } from 'headwater/postgres'
import * as v from 'valibot'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'

const publishPost = command('publishPost', {
  input: z.object({ postId: z.uuid(), body: z.string().default('') }),
  async execute(input, { sql }) {
    expectTypeOf(input).toEqualTypeOf<{ postId: string; body: string }>()
    await sql`insert into posts (id, body) values (${input.postId}, ${input.body})`
  },
})
const countWords = command('countWords', {
  input: z.object({ text: z.string() }),
  execute: async ({ text }) => (text === '' ? reject('empty') : { words: text.split(' ').length }),
})
const publishedPosts = materializedView('published_posts', {
  row: z.object({ post_id: z.uuid(), body: z.string(), likes: z.int(), published_at: z.string() }),
  key: 'post_id',
  select: 'select ...',
  changedBy: { posts: 'id', users: { sql: 'select id from posts where author_id = $1', params: ['id'] } },
  indexes: { newest: ['published_at', 'post_id'] },
  update: 'sync',
})
const statements = materializedView('statements', {
  row: z.object({ account_id: z.string(), month: z.string(), total: z.int() }),
  key: ['account_id', 'month'],
  select: 'select ...',
  changedBy: { entries: ['account_id', 'month'] },
})
const timeline = query('timeline', {
  input: z.object({ before: z.string().optional(), limit: z.int().max(100).default(20) }),
  reads: { publishedPosts },
  execute: ({ before, limit }, { publishedPosts }) => publishedPosts.find({ orderBy: { published_at: 'desc' }, limit, after: before }),
})
const definitions = { publishPost, countWords, timeline, somethingElse: 3 }
const app = headwater({ database: pglite(), commands: definitions, readModels: { publishedPosts, statements }, queries: definitions })

type Post = { post_id: string; body: string; likes: number; published_at: string }

test('names, inputs and results of commands flow to execute', () => {
  expectTypeOf<Parameters<typeof app.execute>[0]>().toEqualTypeOf<'publishPost' | 'countWords'>()
  expectTypeOf(countWords['~result']).toEqualTypeOf<{ words: number }>()
  expectTypeOf(publishPost({ postId: 'a' }).command).toEqualTypeOf<'publishPost'>()
  ;async () => {
    expectTypeOf((await app.execute('countWords', { text: 'a b' }, { idempotencyKey: 'k', after: 't' })).result).toEqualTypeOf<{
      words: number
    }>()
    expectTypeOf((await app.execute('publishPost', { postId: 'a' })).token).toEqualTypeOf<string>()
    // @ts-expect-error no such command
    await app.execute('publishPosts', { postId: 'a' })
    // @ts-expect-error wrong input
    await app.execute('countWords', { text: 3 })
  }
})

test('rows, keys and indexed columns of read models flow to readers', () => {
  expectTypeOf(publishedPosts['~reader']).toEqualTypeOf<Reader<Post, string, 'post_id' | 'published_at'>>()
  expectTypeOf(statements['~reader'].get).parameter(0).toEqualTypeOf<{ readonly account_id: string; readonly month: string }>()
  query('probe', {
    input: z.object({}),
    reads: { publishedPosts },
    async execute(_input, { publishedPosts, sql }) {
      expectTypeOf(await publishedPosts.get('a')).toEqualTypeOf<Post | undefined>()
      expectTypeOf(await sql<{ n: number }>`select 1 as n from ${publishedPosts}`).toEqualTypeOf<readonly { n: number }[]>()
      // @ts-expect-error no index serves likes
      await publishedPosts.find({ orderBy: { likes: 'desc' } })
      // @ts-expect-error a condition of another type
      await publishedPosts.find({ where: { published_at: { gt: 3 } } })
    },
  })
})

test('inputs and results of queries flow to query', () => {
  expectTypeOf<Parameters<typeof app.query>[0]>().toEqualTypeOf<'timeline'>()
  ;async () => {
    const { result, lagMs } = await app.query('timeline', {}, { after: 't', waitMs: 1 })
    expectTypeOf(result.items).toEqualTypeOf<readonly Post[]>()
    expectTypeOf(lagMs).toEqualTypeOf<number>()
    // @ts-expect-error no such query
    await app.query('timelin', {})
  }
})

test('any Standard Schema library, or only a type, will do', () => {
  expectTypeOf(
    command('a', { input: v.object({ a: v.optional(v.string(), 'x') }), execute: async ({ a }) => a })['~result'],
  ).toEqualTypeOf<string>()
  expectTypeOf(command('b', { input: ark({ a: 'string' }), execute: async ({ a }) => a })['~result']).toEqualTypeOf<string>()
  const typed = materializedView('x', { row: typeOf<Post>(), key: 'post_id', select: '', changedBy: {} })
  expectTypeOf(typed['~reader']).toEqualTypeOf<Reader<Post, string, 'post_id'>>()
})

test('definitions refuse what does not fit', () => {
  // @ts-expect-error the key is no column of the row
  materializedView('x', { row: z.object({ id: z.string() }), key: 'idd', select: '', changedBy: {} })
  // @ts-expect-error the index names no column of the row
  materializedView('x', { row: z.object({ id: z.string() }), key: 'id', select: '', changedBy: {}, indexes: { a: ['idd'] } })
})
