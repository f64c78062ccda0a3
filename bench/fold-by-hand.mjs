import { evolved } from './accounts.mjs'
import { prepared } from './database.mjs'

const batchSize = 5000

/**
 * What somebody would write who knows their trade: batches of 5,000, the next one read while this one is folded; rows loaded and written by one statement
 * each, the position in the same transaction.
 * @param {import('pg').Pool} pool of two connections
 * @param {string} source the table of events
 * @param {string} schema for its own tables
 */
export async function foldByHand(pool, source, schema) {
  await pool.query(`drop table if exists ${schema}.balances, ${schema}.checkpoint;
    create table ${schema}.balances (key text collate "C" primary key, row jsonb not null, position bigint not null) with (fillfactor = 80);
    create table ${schema}.checkpoint (position bigint not null); insert into ${schema}.checkpoint values (0)`)
  const [reader, writer] = await Promise.all([pool.connect(), pool.connect()])
  try {
    await writer.query(`set enable_seqscan = off`)
    await eachBatch(reader, source, (events, was, position) => writeBatch(writer, schema, events, was, position))
  } finally {
    reader.release(true)
    writer.release(true)
  }
}

/**
 * Batches of the events, the next one read while `work` is busy with this one.
 * @param {import('pg').ClientBase} reader
 * @param {string} source the table of events
 * @param {(events: readonly any[], was: number, position: number) => Promise<void>} work
 */
export async function eachBatch(reader, source, work) {
  const read = (/** @type {number} */ after) =>
    prepared(reader, `select position, stream, type, data from ${source} where position > $1 order by position limit ${batchSize}`, [after])
  let position = 0
  for (let next = read(0); ; ) {
    const { rows: events } = await next
    if (events.length === 0) return
    const was = position
    position = Number(events[events.length - 1].position)
    next = read(position)
    await work(events, was, position)
  }
}

/**
 * The rows after the events.
 * @param {ReadonlyMap<string, any>} rows @param {readonly any[]} events
 */
export function folded(rows, events) {
  const balances = new Map(rows)
  for (const { stream, data } of events) balances.set(stream, evolved(balances.get(stream) ?? { balance: 0, events: 0 }, data))
  return balances
}

async function writeBatch(writer, schema, events, was, position) {
  const keys = [...new Set(events.map(({ stream }) => stream))]
  const { rows } = await prepared(writer, `select key, row from ${schema}.balances where key = any ($1::text[])`, [keys])
  const balances = folded(new Map(rows.map(({ key, row }) => [key, row])), events)
  await writer.query('begin')
  await prepared(
    writer,
    `insert into ${schema}.balances as b (key, row, position) select k, r, $3 from unnest($1::text[], $2::jsonb[]) w(k, r)
     on conflict (key) do update set row = excluded.row, position = excluded.position`,
    [keys, keys.map((key) => JSON.stringify(balances.get(key))), position],
  )
  const { rowCount } = await prepared(writer, `update ${schema}.checkpoint set position = $2 where position = $1`, [was, position])
  if (rowCount !== 1) throw new Error('somebody else folds')
  await writer.query('commit')
}
