import { startApplication } from '../application.mjs'
import { commands, createCommunity, publishedPosts } from '../community.mjs'
import { idOf, prepared } from '../database.mjs'
import { interleave, median, percentile, sleep } from '../timing.mjs'

export const name = 'write-to-visible'
export const title = 'from a commit to the row another connection sees, async view, idle machine'

const pollIntervalMs = 100

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const posts = quick ? 1000 : 20_000
  const writes = quick ? 10 : 100
  const [tables, schema] = [place.schema('t'), place.schema('h')]
  const pool = place.pool(2, tables)
  await createCommunity(pool, tables, { users: posts / 20, posts, replies: posts, likes: posts * 5, follows: posts })
  const app = await startApplication(place, { schema, tables, commands, readModels: { view: publishedPosts('async') }, pollIntervalMs })
  await app.settle()
  const watcher = await pool.connect()
  const select = `select from ${schema}.published_posts where post_id = $1 and body = $2`
  const measure = (writer, write) => async (round) => {
    const times = []
    for (let i = 0; i < writes; i++) {
      const postId = idOf('post', 1 + ((round * 7919 + i * 104729) % posts))
      const body = `${writer} ${round} ${i}`
      await write(postId, body)
      const committed = performance.now()
      while ((await prepared(watcher, select, [postId, body])).rowCount === 0);
      times.push(performance.now() - committed)
      await sleep(20 + Math.random() * 20)
    }
    return { p50: percentile(times, 0.5), p99: percentile(times, 0.99), times }
  }
  const figures = await interleave(3, {
    through: measure('command', (postId, body) => app.execute('editPost', { postId, body })),
    foreign: measure('foreigner', (postId, body) => prepared(pool, 'update posts set body = $2 where id = $1', [postId, body])),
  })
  watcher.release()
  const add = (label, rounds, [p50, p99]) => {
    report.add({
      bench: name,
      case: `${label}, p50`,
      value: median(rounds.map((round) => round.p50)),
      unit: 'ms',
      ...(p50 && { target: { atMost: p50 } }),
    })
    const all = rounds.flatMap(({ times }) => times)
    report.add({
      bench: name,
      case: `${label}, p99 of ${all.length}`,
      value: percentile(all, 0.99),
      unit: 'ms',
      ...(p99 && { target: { atMost: p99 } }),
    })
  }
  add('through a command', figures.through, [10, 50])
  // The poll interval, and what it takes to work the change off.
  add(`by a foreign writer, looked for every ${pollIntervalMs} ms`, figures.foreign, [pollIntervalMs, pollIntervalMs + 50])
}
