import { startApplication } from '../application.mjs'
import { commands, createCommunity, publishedPosts, queriesOver } from '../community.mjs'
import { idOf, prepared } from '../database.mjs'
import { closedLoop, interleave, median } from '../timing.mjs'

export const name = 'query-overhead'
export const title = 'a query that gets one row, against a bare prepared SELECT'

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const posts = quick ? 1000 : 20_000
  const [tables, schema] = [place.schema('t'), place.schema('h')]
  const pool = place.pool(16, tables)
  await createCommunity(pool, tables, { users: posts / 20, posts, replies: posts, likes: posts * 5, follows: posts })
  const view = publishedPosts('sync')
  const app = await startApplication(place, { schema, tables, commands, readModels: { view }, queries: queriesOver(view), poolSize: 16 })
  await app.settle()
  const { token } = await app.execute('editPost', { postId: idOf('post', 1), body: 'written before' })
  await app.settle()
  const select = `select * from ${schema}.published_posts where post_id = $1`
  const sides = {
    eventual: (postId) => app.query('post', { postId }),
    token: (postId) => app.query('post', { postId }, { after: token }),
    bounded: (postId) => app.query('post', { postId }, { maxStalenessMs: 10_000 }),
    select: (postId) => prepared(pool, select, [postId]),
    snapshot: (postId) => inSnapshot(pool, select, postId),
  }
  const labels = {
    eventual: 'query()',
    token: 'query() with a token that is satisfied',
    bounded: 'query() with maxStalenessMs',
    select: 'bare SELECT',
    snapshot: 'BEGIN, bare SELECT, COMMIT',
  }
  for (const clients of [1, 16]) {
    const measure = (read) => async () =>
      (
        await closedLoop({ clients, ms: quick ? 300 : 3000 }, (client, request) =>
          read(idOf('post', 1 + ((client * 611 + request * 7919) % posts))),
        )
      ).perSecond
    const figures = await interleave(3, Object.fromEntries(Object.entries(sides).map(([side, read]) => [side, measure(read)])))
    const value = Object.fromEntries(Object.entries(figures).map(([side, values]) => [side, median(values)]))
    for (const side of Object.keys(sides)) {
      const against = side === 'token' || side === 'bounded' ? 'snapshot' : 'select'
      report.add({
        bench: name,
        case: `${labels[side]}, ${clients === 1 ? 'one client' : `${clients} clients`}`,
        value: value[side],
        unit: 'queries/s',
        ...(side !== 'select' && { against: labels[against], ratio: value[side] / value[against] }),
      })
    }
  }
}

async function inSnapshot(pool, select, postId) {
  const client = await pool.connect()
  try {
    await client.query('begin isolation level repeatable read read only')
    await prepared(client, select, [postId])
    await client.query('commit')
  } finally {
    client.release()
  }
}
