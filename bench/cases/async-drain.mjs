import { startApplication } from '../application.mjs'
import { createCommunity, publishedPosts } from '../community.mjs'
import { interleave, median, timed } from '../timing.mjs'

export const name = 'async-drain'
export const title = 'keys recomputed and written by one worker, against one statement by hand over the same keys'

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const posts = quick ? 4000 : 200_000
  const keys = quick ? 1000 : 50_000
  const [tables, schema] = [place.schema('t'), place.schema('h')]
  const pool = place.pool(2, tables)
  report.say('  filling and building')
  await createCommunity(pool, tables, { users: posts / 20, posts, replies: posts, likes: posts * 5, follows: posts })
  // Nothing but settle() makes this worker look.
  const app = await startApplication(place, { schema, tables, readModels: { view: publishedPosts('async') }, pollIntervalMs: 3_600_000 })
  await app.settle()
  const { rows } = await pool.query(`select v.id, v.table_name from ${schema}.view v where v.state = 'live'`)
  const view = { id: rows[0].id, table: `${schema}.${rows[0].table_name}` }
  await pool.query(
    `create table by_hand (like ${view.table} including all) with (fillfactor = 80); insert into by_hand select * from ${view.table}`,
  )
  await pool.query('vacuum analyze')

  report.say('  measuring')
  const sample = `select id from posts order by md5(id::text || $1) limit ${keys}`
  const worker = (marks) => async (round) => {
    await spoil(pool, view.table, sample, round)
    await pool.query(marks(`select id, row_number() over () - 1 as n from (${sample}) s`), [`${round}`])
    const ms = await timed(() => app.settle())
    await check(pool, view.table)
    return keys / (ms / 1000)
  }
  const figures = await interleave(3, {
    hand: async (round) => {
      await spoil(pool, 'by_hand', sample, round)
      const { rows: chosen } = await pool.query(`select array_agg(id) as ids from (${sample}) s`, [`${round}`])
      const ms = await timed(() => pool.query(byHand, [chosen[0].ids]))
      await check(pool, 'by_hand')
      return keys / (ms / 1000)
    },
    single: worker((ids) => `insert into ${schema}.mark (view, lane, map, keys) select ${view.id}, 0, 0, array[id::text] from (${ids}) s`),
    bulk: worker(
      (ids) =>
        `insert into ${schema}.mark (view, lane, map, keys) select ${view.id}, 1, 0, array_agg(id::text) from (${ids}) s group by n / 1000`,
    ),
  })
  const hand = median(figures.hand)
  report.add({ bench: name, case: 'one statement by hand', value: hand, unit: 'keys/s' })
  for (const [label, values] of /** @type {const} */ ([
    ['marks of one key each', figures.single],
    ['marks of 1,000 keys', figures.bulk],
  ])) {
    const value = median(values)
    report.add({
      bench: name,
      case: `one worker, ${label}`,
      value,
      unit: 'keys/s',
      against: 'by hand',
      ratio: value / hand,
      target: { ratioAtLeast: 0.5 },
    })
  }
}

/** Makes the rows of the sample wrong, so that each has to be written, and leaves no work for a vacuum in between. */
async function spoil(pool, table, sample, round) {
  await pool.query(`update ${table} set likes = -1 where post_id in (${sample})`, [`${round}`])
  await pool.query(`vacuum analyze ${table}`)
  await pool.query('checkpoint').catch(() => {})
}

async function check(pool, table) {
  const { rows } = await pool.query(`select count(*)::int as wrong from ${table} where likes < 0`)
  if (rows[0].wrong > 0) throw new Error(`${rows[0].wrong} rows of ${table} were not recomputed`)
}

/** What one would write who knows the keys: the same SELECT, and rows that are right already are left alone. */
const byHand = `
  insert into by_hand as t (post_id, author_id, author, body, likes, replies, published_at)
  select p.id, p.author_id, u.name, p.body, (select count(*) from likes l where l.post_id = p.id), (select count(*) from replies r where r.post_id = p.id), p.published_at
  from posts p join users u on u.id = p.author_id
  where p.id = any ($1::uuid[])
  on conflict (post_id) do update set author_id = excluded.author_id, author = excluded.author, body = excluded.body, likes = excluded.likes,
    replies = excluded.replies, published_at = excluded.published_at
  where (t.author_id, t.author, t.body, t.likes, t.replies, t.published_at)
    is distinct from (excluded.author_id, excluded.author, excluded.body, excluded.likes, excluded.replies, excluded.published_at)`
