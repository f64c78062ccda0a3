import { deepStrictEqual } from 'node:assert'
import { startApplication } from '../application.mjs'
import { commands, createCommunity, handIndexes, homePagesByHand, publishedPosts, queriesOver } from '../community.mjs'
import { idOf, prepared } from '../database.mjs'
import { closedLoop, interleave, median, paced } from '../timing.mjs'

export const name = 'home-timeline'
export const title = 'the newest 20 posts of those one follows, 16 clients, 200 likes a second going on'

const clients = 16
const likesPerSecond = 200

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const size = quick
    ? { users: 500, posts: 5000, replies: 5000, likes: 20_000, follows: 10_000 }
    : { users: 10_000, posts: 200_000, replies: 200_000, likes: 1_000_000, follows: 500_000 }
  report.say('  filling two sets of tables: one for Headwater, one without its triggers and with the indexes that joins want')
  const kept = await keptSide(place, size)
  const plain = await plainSide(place, size)
  const pages = { ...kept.pages, ...plain.pages }
  await samePages(pages, size)
  report.say('  measuring')
  const ms = quick ? 500 : 5000
  const measure = (side, page) => async (round) => {
    const likes = paced(likesPerSecond, (n) =>
      side.app.execute('like', {
        postId: idOf('post', 1 + ((n * 7919 + round * 31) % size.posts)),
        userId: idOf('user', 1 + ((n * 104729 + round * 17) % size.users)),
      }),
    )
    const reader = (client, request) => page(idOf('user', 1 + ((client * 611953 + request * 7919) % size.users)))
    const figures = await closedLoop({ clients, ms }, reader)
    await likes.stop()
    return figures
  }
  const rounds = await interleave(3, {
    headwater: measure(kept, pages.headwater),
    readTable: measure(kept, pages.readTable),
    bestJoin: measure(plain, pages.bestJoin),
    groupBy: measure(plain, pages.groupBy),
  })
  add(report, rounds)
}

async function keptSide(place, size) {
  const [tables, schema] = [place.schema('t'), place.schema('h')]
  const pool = place.pool(clients, tables)
  await createCommunity(pool, tables, size)
  const view = publishedPosts('sync')
  const readModels = { view }
  const app = await startApplication(place, { schema, tables, readModels, commands, poolSize: 8 })
  await app.settle()
  // Readers have connections of their own, as in a process beside the one that writes.
  const reading = await startApplication(place, { schema, tables, readModels, queries: queriesOver(view), poolSize: clients })
  await pool.query('vacuum analyze')
  const { readTable } = homePagesByHand(`${schema}.published_posts`)
  return {
    app,
    pages: {
      headwater: async (userId) => (await reading.query('homeTimeline', { userId })).result.items,
      readTable: async (userId) => (await prepared(pool, readTable, [userId])).rows,
    },
  }
}

async function plainSide(place, size) {
  const tables = place.schema('plain')
  const pool = place.pool(clients, tables)
  await createCommunity(pool, tables, size)
  await pool.query(handIndexes)
  const app = await startApplication(place, { schema: place.schema('commands'), tables, commands, poolSize: 8 })
  await pool.query('vacuum analyze')
  const { bestJoin, groupBy } = homePagesByHand('')
  return {
    app,
    pages: {
      bestJoin: async (userId) => (await prepared(pool, bestJoin, [userId])).rows,
      groupBy: async (userId) => (await prepared(pool, groupBy, [userId])).rows,
    },
  }
}

/** All sides must answer the same, or there is nothing to compare. */
async function samePages(pages, { users }) {
  for (const n of [1, 2, Math.floor(users / 2), users]) {
    const wanted = (await pages.bestJoin(idOf('user', n))).slice(0, 20).map(shown)
    for (const page of Object.values(pages)) deepStrictEqual((await page(idOf('user', n))).slice(0, 20).map(shown), wanted)
  }
}

const shown = (post) => [post.postId ?? post.post_id, post.author, post.body, Number(post.likes), Number(post.replies)]

function add(report, rounds) {
  const perSecond = Object.fromEntries(
    Object.entries(rounds).map(([side, figures]) => [side, median(figures.map((figure) => figure.perSecond))]),
  )
  const p99 = Object.fromEntries(Object.entries(rounds).map(([side, figures]) => [side, median(figures.map((figure) => figure.p99))]))
  const labels = {
    headwater: "query('homeTimeline')",
    readTable: 'bare SQL over the read table',
    bestJoin: 'best join, lateral',
    groupBy: 'obvious join, GROUP BY',
  }
  for (const side of Object.keys(labels)) {
    report.add({ bench: name, case: labels[side], value: perSecond[side], unit: 'pages/s' })
    report.add({ bench: name, case: `${labels[side]}, p99`, value: p99[side], unit: 'ms' })
  }
  const compare = (figure) => report.add({ bench: name, case: labels.headwater, ...figure })
  const [value, unit] = [perSecond.headwater, 'pages/s']
  compare({ value, unit, against: labels.bestJoin, ratio: value / perSecond.bestJoin, target: { ratioAtLeast: 4 } })
  compare({ value, unit, against: labels.groupBy, ratio: value / perSecond.groupBy, target: { ratioAtLeast: 20 } })
  compare({ value, unit, against: labels.readTable, ratio: value / perSecond.readTable })
  for (const [against, side] of /** @type {const} */ ([
    [labels.bestJoin, 'bestJoin'],
    [labels.groupBy, 'groupBy'],
  ])) {
    compare({ value: p99.headwater, unit: 'ms p99', against, ratio: p99.headwater / p99[side], target: { ratioAtMost: 1 / 3 } })
  }
}
