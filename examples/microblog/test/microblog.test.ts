import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { postgres } from 'headwater/postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { postgresMissing, postgresUrl } from '../../../test/support/addresses.ts'
import { built, Client, type Hit, type Item, type Page, type Profile } from './client.ts'
import { type RunningExample, startExample } from './running-example.ts'

interface Target {
  readonly name: string
  readonly skip: string | false
  readonly prepare: () => Promise<{ readonly settings: Record<string, string>; readonly remove: () => Promise<void> }>
}

const targets: readonly Target[] = [
  { name: 'PGlite', skip: false, prepare: inDirectory },
  { name: 'PostgreSQL', skip: await postgresMissing(), prepare: onServer },
]

async function inDirectory() {
  const directory = mkdtempSync(join(tmpdir(), 'microblog-'))
  return { settings: { DATA_DIR: directory }, remove: async () => rmSync(directory, { recursive: true, force: true }) }
}

/** A database of its own, because the example's schemas have fixed names. */
async function onServer() {
  const name = `microblog_${randomUUID().replaceAll('-', '')}`
  const run = async (text: string) => {
    const server = postgres(postgresUrl, { poolSize: 1 })
    await server.query(text).finally(() => server.close())
  }
  await run(`create database ${name}`)
  const url = new URL(postgresUrl)
  url.pathname = `/${name}`
  return { settings: { DATABASE_URL: url.href }, remove: () => run(`drop database ${name} with (force)`) }
}

describe.each(targets)('the micro-blog on $name', ({ skip, prepare }) => {
  let example: RunningExample
  let client: Client
  let target: Awaited<ReturnType<typeof prepare>>

  beforeAll(async () => {
    if (skip) return
    target = await prepare()
    example = await startExample(target.settings)
    await built(example.url)
    client = new Client(example.url)
  })
  afterAll(async () => {
    await example?.end()
    await target?.remove()
  })

  const test = it.skipIf(skip)

  async function person(name: string): Promise<string> {
    const userId = randomUUID()
    await client.execute('registerUser', { userId, name })
    return userId
  }

  async function post(authorId: string, body: string): Promise<string> {
    const postId = randomUUID()
    await client.execute('publishPost', { postId, authorId, body })
    return postId
  }

  async function refusal(name: string, input: unknown): Promise<string> {
    const response = await client.command(name, input)
    expect(response.status).toBe(422)
    expect(response.headers.get('Content-Type')).toBe('application/problem+json')
    return ((await response.json()) as { code: string }).code
  }

  test('shows a post exactly', async () => {
    const authorId = await person('Ada Obi')
    const postId = await post(authorId, 'Hello, <world> & "all"')
    const found = await client.read<Item>('post', { postId })
    expect(found).toStrictEqual({
      postId,
      authorId,
      author: 'Ada Obi',
      body: 'Hello, <world> & "all"',
      inReplyTo: null,
      likes: 0,
      replies: 0,
      publishedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
    })
    expect((await client.read<Page<Item>>('timeline')).items[0]).toStrictEqual(found)
    expect((await client.read<Page<Item>>('userPosts', { userId: authorId })).items).toStrictEqual([found])
  })

  test('counts likes and takes them back, once each', async () => {
    const [author, reader] = [await person('Kofi'), await person('Mei')]
    const postId = await post(author, 'Count me')
    const likes = async () => (await client.read<Item>('post', { postId })).likes
    await client.execute('like', { postId, userId: reader })
    await client.execute('like', { postId, userId: reader })
    expect(await likes()).toBe(1)
    await client.execute('like', { postId, userId: author })
    expect(await likes()).toBe(2)
    expect(await client.read('mine', { userId: reader, postIds: [postId] })).toStrictEqual({ liked: [postId], following: [] })
    expect((await client.read<Profile>('profile', { userId: author })).likes).toBe(2)
    await client.execute('unlike', { postId, userId: reader })
    await client.execute('unlike', { postId, userId: reader })
    expect(await likes()).toBe(1)
  })

  test('keeps replies when what they answer is deleted', async () => {
    const author = await person('Sofía')
    const parent = await post(author, 'Will go')
    const [first, second] = [randomUUID(), randomUUID()]
    await client.execute('reply', { postId: first, inReplyTo: parent, authorId: author, body: 'One' })
    await client.execute('reply', { postId: second, inReplyTo: first, authorId: author, body: 'Two' })
    await client.execute('like', { postId: first, userId: author })
    expect((await client.read<Item>('post', { postId: parent })).replies).toBe(1)
    expect(await client.read<Item>('post', { postId: first })).toMatchObject({ inReplyTo: parent, replies: 1, likes: 1 })
    expect((await client.read<Page<Item>>('replies', { postId: parent })).items.map(({ postId }) => postId)).toStrictEqual([first])
    const timeline = await client.read<Page<Item>>('timeline', { limit: 100 })
    expect(timeline.items.some(({ postId }) => postId === first)).toBe(false)
    expect(await client.read<Profile>('profile', { userId: author })).toMatchObject({ posts: 1, replies: 2 })

    await client.execute('deletePost', { postId: parent })
    expect(await client.read('post', { postId: parent })).toBeNull()
    expect(await client.read<Item>('post', { postId: first })).toMatchObject({ inReplyTo: null, likes: 1 })
    expect(await client.read<Item>('post', { postId: second })).toMatchObject({ inReplyTo: first })
    expect(await client.read<Profile>('profile', { userId: author })).toMatchObject({ posts: 1, replies: 1 })
  })

  test('pages through the timeline without losing or repeating a post', async () => {
    const author = await person('Priya')
    const written: string[] = []
    for (let i = 0; i < 7; i++) written.unshift(await post(author, `Number ${i}`))
    const seen: string[] = []
    for (let before: string | null = null; seen.length < 7; ) {
      const page: Page<Item> = await client.read('timeline', { limit: 3, before })
      seen.push(...page.items.map(({ postId }) => postId))
      before = page.next
    }
    expect(seen.slice(0, 7)).toStrictEqual(written)
  })

  test('has a home for the posts of those one follows', async () => {
    const [reader, one, two, other] = [await person('Reader'), await person('One'), await person('Two'), await person('Other')]
    await client.execute('follow', { userId: reader, followeeId: one })
    await client.execute('follow', { userId: reader, followeeId: two })
    await client.execute('follow', { userId: reader, followeeId: two })
    const ids = [await post(one, 'a'), await post(two, 'b'), await post(other, 'c'), await post(one, 'd'), await post(two, 'e')]
    await client.execute('reply', { postId: randomUUID(), inReplyTo: ids[0], authorId: one, body: 'no post of its own' })
    const first = await client.read<Page<Item>>('homeTimeline', { userId: reader, limit: 3 })
    expect(first.items.map(({ body }) => body)).toStrictEqual(['e', 'd', 'b'])
    const second = await client.read<Page<Item>>('homeTimeline', { userId: reader, limit: 3, before: first.next })
    expect(second.items.map(({ body }) => body)).toStrictEqual(['a'])
    expect(second.next).toBeNull()
    expect(await client.read<Profile>('profile', { userId: two })).toMatchObject({ followers: 1, following: 0 })
    await client.execute('unfollow', { userId: reader, followeeId: two })
    await client.execute('unfollow', { userId: reader, followeeId: two })
    const after = await client.read<Page<Item>>('homeTimeline', { userId: reader })
    expect(after.items.map(({ body }) => body)).toStrictEqual(['d', 'a'])
    expect(await client.read<Profile>('profile', { userId: reader })).toMatchObject({ followers: 0, following: 1 })
  })

  test('finds posts by words and by author, best first, marked and escaped', async () => {
    const author = await person('Zuzanna Quill')
    const other = await person('Someone Else')
    const once = await post(author, 'A <b>plum</b> & a pear')
    const twice = await post(other, 'plum plum plum')
    const hits = async (text: string) => (await client.read<Page<Hit>>('searchPosts', { text })).items
    const plums = await hits('plum')
    expect(plums.map(({ postId }) => postId)).toStrictEqual([twice, once])
    expect(plums[1]).toStrictEqual({
      postId: once,
      authorId: author,
      author: 'Zuzanna Quill',
      snippet: 'A &lt;b&gt;<mark>plum</mark>&lt;/b&gt; &amp; a pear',
      inReplyTo: null,
      likes: 0,
      replies: 0,
      publishedAt: expect.any(String),
    })
    expect((await hits('zuzanna')).map(({ postId }) => postId)).toStrictEqual([once])
    expect((await hits('pear plu')).map(({ postId }) => postId)).toStrictEqual([once])
    expect((await hits('plum -pear')).map(({ postId }) => postId)).toStrictEqual([twice])
    for (const odd of ['', '   ', "'", '"', '!!!', '& | !', ':*', "plum':*", '\\', '<', '-', 'or', '%'])
      expect((await client.query('searchPosts', { text: odd })).status).toBe(200)
    const first = await client.read<Page<Hit>>('searchPosts', { text: 'plum', limit: 1 })
    const second = await client.read<Page<Hit>>('searchPosts', { text: 'plum', limit: 1, after: first.next })
    expect([...first.items, ...second.items].map(({ postId }) => postId)).toStrictEqual([twice, once])
    expect(second.next).toBeNull()
  })

  test('shows a new name and a new text everywhere', async () => {
    const author = await person('Before')
    const postId = await post(author, 'first words')
    await client.execute('renameUser', { userId: author, name: 'Afterwards' })
    await client.execute('editPost', { postId, body: 'other language' })
    expect(await client.read<Item>('post', { postId })).toMatchObject({ author: 'Afterwards', body: 'other language' })
    expect((await client.read<Profile>('profile', { userId: author })).name).toBe('Afterwards')
    const found = async (text: string) => (await client.read<Page<Hit>>('searchPosts', { text })).items.map(({ postId }) => postId)
    expect(await found('afterwards')).toStrictEqual([postId])
    expect(await found('language')).toStrictEqual([postId])
    expect(await found('before')).toStrictEqual([])
    expect((await client.read<Page<Profile>>('people', { text: 'Afterw' })).items).toMatchObject([{ userId: author }])
  })

  test('refuses what refers to nothing or is there already', async () => {
    const userId = await person('Once')
    const postId = await post(userId, 'once')
    const nobody = randomUUID()
    expect(await refusal('registerUser', { userId, name: 'Twice' })).toBe('already_exists')
    expect(await refusal('publishPost', { postId, authorId: userId, body: 'twice' })).toBe('already_exists')
    expect(await refusal('reply', { postId, inReplyTo: postId, authorId: userId, body: 'twice' })).toBe('already_exists')
    expect(await refusal('publishPost', { postId: randomUUID(), authorId: nobody, body: 'x' })).toBe('unknown_user')
    expect(await refusal('reply', { postId: randomUUID(), inReplyTo: nobody, authorId: userId, body: 'x' })).toBe('unknown_post')
    expect(await refusal('reply', { postId: randomUUID(), inReplyTo: postId, authorId: nobody, body: 'x' })).toBe('unknown_user')
    expect(await refusal('renameUser', { userId: nobody, name: 'x' })).toBe('unknown_user')
    expect(await refusal('editPost', { postId: nobody, body: 'x' })).toBe('unknown_post')
    expect(await refusal('deletePost', { postId: nobody })).toBe('unknown_post')
    for (const name of ['like', 'unlike']) {
      expect(await refusal(name, { postId: nobody, userId })).toBe('unknown_post')
      expect(await refusal(name, { postId, userId: nobody })).toBe('unknown_user')
    }
    for (const name of ['follow', 'unfollow']) {
      expect(await refusal(name, { userId, followeeId: nobody })).toBe('unknown_user')
      expect(await refusal(name, { userId: nobody, followeeId: userId })).toBe('unknown_user')
    }
    expect(await client.read<Item>('post', { postId })).toMatchObject({ body: 'once', replies: 0, likes: 0 })
    expect(await client.read('profile', { userId: nobody })).toBeNull()
    expect(await client.read('post', { postId: nobody })).toBeNull()
  })

  test('refuses input that is not what it asks for', async () => {
    const id = randomUUID()
    expect(await refusal('registerUser', { userId: 'x', name: 'x' })).toBe('invalid_input')
    expect(await refusal('registerUser', { userId: id, name: '' })).toBe('invalid_input')
    expect(await refusal('registerUser', { userId: id, name: 'x'.repeat(51) })).toBe('invalid_input')
    expect(await refusal('publishPost', { postId: id, authorId: id, body: 'x'.repeat(501) })).toBe('invalid_input')
    expect(await refusal('publishPost', { postId: id, authorId: id, body: 'a\u0000b' })).toBe('invalid_input')
    for (const input of [{ limit: 0 }, { limit: 101 }, { before: 'nonsense' }]) {
      expect((await client.query('timeline', input)).status).toBe(422)
      expect((await client.query('homeTimeline', { userId: id, ...input })).status).toBe(422)
    }
    expect((await client.query('searchPosts', { text: 'a', after: 'nonsense' })).status).toBe(422)
  })

  test('answers a command that is sent twice with one key once', async () => {
    const authorId = await person('Key')
    const command = { postId: randomUUID(), authorId, body: 'one' }
    const key = { 'Idempotency-Key': randomUUID() }
    expect((await client.command('publishPost', command, key)).status).toBe(200)
    const again = await client.command('publishPost', command, key)
    expect([again.status, again.headers.get('Idempotency-Replayed')]).toStrictEqual([200, 'true'])
    const refused = { 'Idempotency-Key': randomUUID() }
    for (let i = 0; i < 2; i++) expect((await client.command('publishPost', command, refused)).status).toBe(422)
  })

  test('serves the page with a strict policy, and says of each answer how old it is', async () => {
    const page = await fetch(example.url)
    expect(await page.text()).toContain('<title>Brook</title>')
    expect(page.headers.get('Content-Security-Policy')).toContain("default-src 'self'")
    expect((await fetch(`${example.url}/style.css`)).headers.get('Content-Type')).toContain('text/css')
    for (const path of ['/../package.json', '/%2e%2e/package.json', '/nothing.js'])
      expect((await fetch(example.url + path)).status).toBe(404)
    expect((await client.query('timeline')).headers.get('Headwater-Lag-Ms')).toMatch(/^\d+$/)
  })

  test('keeps everything through kill -9 and a stop', async () => {
    const author = await person('Lasting')
    const postId = await post(author, 'still here')
    await example.end('SIGKILL')
    example = await startExample(target.settings)
    await built(example.url)
    client = new Client(example.url)
    expect(await client.read<Item>('post', { postId })).toMatchObject({ body: 'still here', author: 'Lasting' })
    await client.execute('like', { postId, userId: author })
    expect(await example.end('SIGTERM')).toBe(0)
    example = await startExample(target.settings)
    await built(example.url)
    client = new Client(example.url)
    expect(await client.read<Item>('post', { postId })).toMatchObject({ likes: 1 })
  })
})
