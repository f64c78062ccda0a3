import { startApplication } from '../application.mjs'
import { commands, createCommunity, publishedPosts, publishedPostsSelect, queriesOver } from '../community.mjs'
import { idOf, prepared } from '../database.mjs'
import { interleave, median, timed } from '../timing.mjs'

export const name = 'maintain-vs-refresh'
export const title = 'one changed row kept in step, against REFRESH MATERIALIZED VIEW CONCURRENTLY'

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const sizes = quick ? [1000, 2000, 4000] : [20_000, 200_000, 1_000_000]
  const kept = []
  for (const posts of sizes) kept.push(await atSize({ place, report, posts, changes: quick ? 20 : 300 }))
  const [first, last] = [kept[0], kept[kept.length - 1]]
  report.add({
    bench: name,
    case: `keep one key at ${sizes.at(-1)} posts`,
    value: last.kept,
    unit: 'ms',
    against: `at ${sizes[0]} posts`,
    ratio: last.kept / first.kept,
    target: { ratioAtMost: 1.5 },
  })
}

async function atSize({ place, report, posts, changes }) {
  const tables = place.schema(`t${posts}`)
  const schema = place.schema(`h${posts}`)
  const pool = place.pool(2, tables)
  report.say(`  ${posts} posts: filling`)
  await createCommunity(pool, tables, { users: posts / 20, posts, replies: posts, likes: posts * 5, follows: posts })
  await pool.query(`create materialized view by_hand as ${publishedPostsSelect}; create unique index on by_hand (post_id)`)
  const view = publishedPosts('async')
  const options = { schema, tables, commands, readModels: { view }, queries: queriesOver(view) }
  report.say(`  ${posts} posts: building the read model`)
  const builder = await startApplication(place, options)
  await builder.settle()
  await builder.stop()
  await pool.query('vacuum analyze')

  report.say(`  ${posts} posts: measuring`)
  const worker = await pool.connect()
  const { refresh, keep } = await interleave(3, {
    refresh: async () => timed(() => worker.query('refresh materialized view concurrently by_hand')),
    keep: async (round) => median(await drains(worker, schema, { posts, changes, round })),
  })
  worker.release()
  const app = await startApplication(place, options)
  const { through } = await interleave(3, { through: async (round) => median(await throughHeadwater(app, { posts, changes, round })) })
  await app.uninstall()
  await pool.query(`drop schema ${tables} cascade`)
  const [refreshed, drained, seen] = [refresh, keep, through].map(median)
  report.add({ bench: name, case: `refresh, ${posts} posts`, value: refreshed, unit: 'ms' })
  report.add({
    bench: name,
    case: `keep one key, ${posts} posts`,
    value: drained,
    unit: 'ms',
    against: 'refresh / this',
    ratio: refreshed / drained,
    ...(posts === 200_000 && { target: { ratioAtLeast: 2000 } }),
  })
  report.add({
    bench: name,
    case: `from a command's answer to a read with its token, ${posts} posts`,
    value: seen,
    unit: 'ms',
    against: 'refresh / this',
    ratio: refreshed / seen,
  })
  return { kept: drained }
}

/** Each changes one post by a foreign writer's statement, and then takes the mark in as a worker does. */
async function drains(worker, schema, { posts, changes, round }) {
  const { rows } = await worker.query(`select id from ${schema}.view where state = 'live'`)
  const drain = `select claimed, keys, written, deleted, parked, horizon::text from ${schema}.drain($1, false, $2::xid8)`
  const { rows: looked } = await prepared(worker, drain, [rows[0].id, null])
  const times = []
  for (let i = 0; i < changes; i++) {
    const post = 1 + ((i * 7919 + round * 104729) % posts)
    await prepared(worker, `update posts set body = $2 where id = $1`, [idOf('post', post), `changed ${round} ${i} ${'x'.repeat(100)}`])
    const began = performance.now()
    const { rows: done } = await prepared(worker, drain, [rows[0].id, looked[0].horizon])
    times.push(performance.now() - began)
    if (done[0].written !== 1) throw new Error(`one row was changed, but ${done[0].written} were written`)
  }
  return times
}

async function throughHeadwater(app, { posts, changes, round }) {
  const times = []
  for (let i = 0; i < changes; i++) {
    const postId = idOf('post', 1 + ((i * 15485863 + round * 32452843) % posts))
    const body = `through ${round} ${i} ${'x'.repeat(100)}`
    const { token } = await app.execute('editPost', { postId, body })
    const began = performance.now()
    const { result } = await app.query('post', { postId }, { after: token })
    times.push(performance.now() - began)
    if (result?.body !== body) throw new Error('a read with a token answered from before its write')
  }
  return times
}
