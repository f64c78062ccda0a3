import { materializedView } from 'headwater'
import { z } from 'zod'
import { startApplication } from '../application.mjs'
import { prepared } from '../database.mjs'
import { closedLoop, interleave, median, timed } from '../timing.mjs'

export const name = 'capture-cost'
export const title = 'writes to a table that read models watch, against the same writes to one that none watches; no worker runs'

const clients = 8

/** One table for each way of being watched, alike in everything else. */
const ways = {
  none: [],
  'one async view': ['async'],
  'three async views': ['async', 'async', 'async'],
  'one sync view': ['sync'],
}

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const rows = quick ? 5000 : 100_000
  const sides = []
  for (const [i, [way, modes]] of Object.entries(ways).entries()) sides.push(await prepareSide({ place, rows, way, modes, i }))
  report.say('  measuring single-row updates')
  await single({ report, sides, rows, quick })
  const bulk = sides.filter(({ way }) => way !== 'one sync view')
  report.say('  measuring statements of 1,000 rows')
  await bulkInserts({ report, sides: bulk, quick })
  await bulkUpdates({ report, sides: bulk, rows, quick })
}

async function prepareSide({ place, rows, way, modes, i }) {
  const tables = place.schema(`t${i}`)
  const schema = place.schema(`h${i}`)
  const pool = place.pool(clients, tables)
  await pool.query(`create schema ${tables};
    create table items (id bigint primary key, owner bigint not null, title text not null, body text not null, version int not null);
    insert into items select n, n % 1000, 'item ' || n, repeat(md5(n::text), 6), 0 from generate_series(1, ${rows}) n`)
  if (modes.length > 0) {
    const app = await startApplication(place, { schema, tables, readModels: modes.map(view) })
    await app.settle()
    await app.stop()
  }
  await pool.query('vacuum analyze')
  /** Forgets what is waiting, since no worker takes it in. */
  const clear = async () => {
    if (modes.length > 0) await pool.query(`truncate ${schema}.mark`)
    await pool.query('vacuum items')
    await pool.query('checkpoint').catch(() => {})
  }
  return { way, pool, clear }
}

function view(update, i) {
  return materializedView(`items_${i}`, {
    row: z.object({ id: z.int(), title: z.string(), body: z.string(), version: z.int() }),
    key: 'id',
    select: 'select id, title, body, version from items',
    changedBy: { items: 'id' },
    update,
  })
}

async function single({ report, sides, rows, quick }) {
  const measure =
    ({ pool, clear }) =>
    async (round) => {
      const figures = await closedLoop({ clients, ms: quick ? 300 : 4000 }, (client, request) =>
        prepared(pool, 'update items set version = version + 1 where id = $1', [
          1 + ((client * 15485863 + request * 7919 + round * 31) % rows),
        ]),
      )
      await clear()
      return figures.perSecond
    }
  const figures = await interleave(quick ? 3 : 5, Object.fromEntries(sides.map((side) => [side.way, measure(side)])))
  for (const { way } of sides) {
    report.add({
      bench: name,
      case: `update one row, ${clients} clients, ${way}`,
      value: median(figures[way]),
      unit: 'updates/s',
      ...(way !== 'none' && { against: 'none', ratio: withinRounds(figures[way], figures.none) }),
      ...(way.includes('async') && { target: { ratioAtLeast: 0.85 } }),
    })
  }
}

/** The median over rounds of the ratio within a round. */
const withinRounds = (values, others) => median(values.map((value, round) => value / others[round]))

async function bulkInserts({ report, sides, quick }) {
  let next = 10_000_000
  const statement = `insert into items select n, n % 1000, 'item ' || n, repeat(md5(n::text), 6), 0 from generate_series($1::bigint, $1::bigint + 999) n`
  const figures = await bulkRounds({ sides, quick }, async (pool) => {
    next += 1000
    return await timed(() => prepared(pool, statement, [next]))
  })
  for (const { pool } of sides) await pool.query('delete from items where id >= 10000000')
  addBulk(report, figures, { what: 'insert 1,000 rows', ratioAtLeast: 0.7 })
}

async function bulkUpdates({ report, sides, rows, quick }) {
  let next = 0
  const statement = 'update items set version = version + 1 where id between $1::bigint and $1::bigint + 999'
  const figures = await bulkRounds({ sides, quick }, async (pool) => {
    next = (next + 7000) % (rows - 1000)
    return await timed(() => prepared(pool, statement, [next + 1]))
  })
  addBulk(report, figures, { what: 'update 1,000 rows', ratioAtLeast: 0.45 })
}

/** Statements of all sides in turn, so that one round holds many pairs. */
async function bulkRounds({ sides, quick }, statement) {
  /** @type {Record<string, number[]>} */
  const figures = Object.fromEntries(sides.map(({ way }) => [way, []]))
  for (let round = 0; round < (quick ? 3 : 5); round++) {
    const times = await interleave(quick ? 3 : 30, Object.fromEntries(sides.map(({ way, pool }) => [way, () => statement(pool)])))
    for (const [way, list] of Object.entries(times)) figures[way].push(1000 / median(list))
    for (const { clear } of sides) await clear()
  }
  return figures
}

function addBulk(report, figures, { what, ratioAtLeast }) {
  for (const [way, values] of Object.entries(figures)) {
    report.add({
      bench: name,
      case: `${what}, ${way}`,
      value: median(values),
      unit: 'statements/s',
      ...(way !== 'none' && { against: 'none', ratio: withinRounds(values, figures.none) }),
      ...(way === 'one async view' && { target: { ratioAtLeast } }),
    })
  }
}
