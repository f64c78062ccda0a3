import { fork } from 'node:child_process'
import { once } from 'node:events'
import { startApplication } from '../application.mjs'
import { commands, createCommunity, publishedPosts, queriesOver } from '../community.mjs'
import { idOf, prepared } from '../database.mjs'
import { median, paced, percentile, sleep } from '../timing.mjs'

export const name = 'fan-out'
export const title = 'a rename that touches half of all posts, while others write 100 posts a second'

const writesPerSecond = 100

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const size = { users: 1000, posts: quick ? 4000 : 200_000, replies: 0, likes: quick ? 10_000 : 500_000, follows: quick ? 4000 : 20_000 }
  for (const update of /** @type {const} */ (['async', 'sync'])) {
    report.say(`  ${update}: filling and building`)
    const stage = await setUp(place, size, update)
    report.say(`  ${update}: measuring`)
    const idle = await rounds(() => writeAmidst(stage, sleep(quick ? 500 : 3000)))
    const busy = await rounds((round) => writeAmidst(stage, rename(stage, round)))
    const reader = await startReader(place, stage)
    const token = await rounds((round) => writeAmidst({ ...stage, reader }, rename(stage, 10 + round)))
    reader.kill()
    add(report, update, { idle, busy, token, touched: stage.touched })
    await stage.app.stop()
  }
}

/** Half of all posts are by one author, `user 1`. The others are written by the rest. */
async function setUp(place, size, update) {
  const [tables, schema] = [place.schema(`t_${update}`), place.schema(`h_${update}`)]
  const pool = place.pool(6, tables)
  await createCommunity(pool, tables, size)
  await pool.query('update posts set author_id = $2 where author_id = $1', [idOf('user', 1), idOf('user', 2)])
  const { rowCount } = await pool.query(
    'update posts set author_id = $1 where id in (select id from posts order by published_at limit $2)',
    [idOf('user', 1), size.posts / 2],
  )
  await pool.query('vacuum full analyze posts')
  const view = publishedPosts(update)
  const app = await startApplication(place, { schema, tables, commands, readModels: { view }, queries: queriesOver(view) })
  await app.settle()
  await pool.query('vacuum analyze')
  return { app, pool, schema, tables, update, posts: size.posts, touched: rowCount ?? 0 }
}

async function rounds(measure) {
  const figures = []
  for (let round = 0; round < 3; round++) figures.push(await measure(round))
  return figures
}

/** Resolves to how long it took until every post shows the new name. */
async function rename({ app, pool, schema }, round) {
  await sleep(200)
  const began = performance.now()
  const name = `renamed ${round}`
  const { token } = await app.execute('renameUser', { userId: idOf('user', 1), name })
  for (;;) {
    await sleep(20)
    const { rows } = await prepared(
      pool,
      `select lacking from ${schema}.outstanding(array(select id from ${schema}.view), array[$1]::xid8[], array[true], null)`,
      [xidOf(token)],
    )
    if (rows[0].lacking === 0) return performance.now() - began
  }
}

/** The transaction id in a token: what a benchmark may know and an application need not. @param {string} token */
function xidOf(token) {
  const [, , writes = ''] = Buffer.from(token, 'base64url').toString().split('.')
  return BigInt([...writes.replace('!', '')].reduce((sum, digit) => sum * 36 + Number.parseInt(digit, 36), 0)).toString()
}

/**
 * Others' writes while `work` goes on: how long until each was seen on another connection, how long its command took, and, with a reader, how
 * long a read with its token had to wait in another process.
 */
async function writeAmidst({ app, pool, schema, posts, reader }, work) {
  const waiting = new Map()
  const [lags, commandTimes, tokenWaits] = [[], [], []]
  const onAnswer = (answer) => tokenWaits.push(answer.ms)
  reader?.on('message', onAnswer)
  let sentToReader = 0
  const writes = paced(writesPerSecond, async (n) => {
    const postId = idOf('post', posts / 2 + 1 + ((n * 7919) % (posts / 2)))
    const body = `seen ${Math.random()}`
    const began = performance.now()
    const { token } = await app.execute('editPost', { postId, body })
    const committed = performance.now()
    commandTimes.push(committed - began)
    if (reader) {
      sentToReader++
      reader.send({ postId, token, body })
    } else waiting.set(postId, { body, committed })
  })
  let over = false
  const watched = watch({ pool, schema, waiting, lags, isOver: () => over })
  const tookMs = await work
  await writes.stop()
  over = true
  await watched
  while (reader && tokenWaits.length < sentToReader) await sleep(5)
  reader?.off('message', onAnswer)
  return { tookMs, lags, commandTimes, tokenWaits }
}

/** Looks for everything that waits, again and again, on a connection of its own. */
async function watch({ pool, schema, waiting, lags, isOver }) {
  const client = await pool.connect()
  while (!isOver() || waiting.size > 0) {
    if (waiting.size === 0) {
      await sleep(1)
      continue
    }
    const { rows } = await prepared(client, `select post_id, body from ${schema}.published_posts where post_id = any ($1)`, [
      [...waiting.keys()],
    ])
    const now = performance.now()
    for (const { post_id, body } of rows) {
      const found = waiting.get(post_id)
      if (found?.body !== body) continue
      lags.push(now - found.committed)
      waiting.delete(post_id)
    }
  }
  client.release()
}

/** Another process that runs the same application. */
async function startReader(place, { schema, tables, update }) {
  const child = fork(new URL('../token-reader.mjs', import.meta.url), [], {
    env: { ...process.env, BENCH_URL: place.url, BENCH_SCHEMA: schema, BENCH_TABLES: tables, BENCH_UPDATE: update },
  })
  place.onClose(async () => child.kill())
  const [word] = await Promise.race([once(child, 'message'), once(child, 'exit')])
  if (word !== 'ready') throw new Error(`the reader ended with ${word}`)
  return child
}

function add(report, update, { idle, busy, token, touched }) {
  const p99 = (figures, of) => median(figures.map((figure) => percentile(figure[of], 0.99)))
  const figure = (label, value, more = {}) => report.add({ bench: name, case: `${update}: ${label}`, value, unit: 'ms', ...more })
  figure(`rename until all ${touched} posts show it`, median(busy.map(({ tookMs }) => tookMs)))
  figure('the same, two processes working', median(token.map(({ tookMs }) => tookMs)))
  figure("other keys' lag p99, nothing else going on", p99(idle, 'lags'))
  const lag = p99(busy, 'lags')
  figure("other keys' lag p99, during the rename", lag, {
    against: 'nothing else going on',
    ratio: lag / p99(idle, 'lags'),
    target: { atMost: 100 },
  })
  figure("others' commands p99, nothing else going on", p99(idle, 'commandTimes'))
  const commandTime = p99(busy, 'commandTimes')
  figure("others' commands p99, during the rename", commandTime, {
    against: 'nothing else going on',
    ratio: commandTime / p99(idle, 'commandTimes'),
  })
  figure("other readers' token wait p99, from another process", p99(token, 'tokenWaits'), { target: { atMost: 250 } })
}
