import { balances, commands } from './accounts.mjs'
import { startApplication } from './application.mjs'

/**
 * Registers read models over an empty log, so that they are live and later catch up as live ones do.
 * @param {import('./database.mjs').Workplace} place
 * @param {string} schema
 * @param {readonly string[]} names
 * @param {() => object} [options] of each read model
 */
export async function registerLive(place, schema, names, options = () => ({})) {
  const readModels = Object.fromEntries(names.map((name) => [name, balances(name, options())]))
  const app = await startApplication(place, { schema, commands, readModels })
  await app.settle()
  await app.stop()
}

/**
 * Starts a process's worth of one read model and waits until it holds everything; milliseconds.
 * @param {import('./database.mjs').Workplace} place
 * @param {string} schema
 * @param {string} name
 * @param {object} [options] of the read model
 */
export async function catchUp(place, schema, name, options = {}) {
  const began = performance.now()
  const app = await startApplication(place, { schema, commands, readModels: { [name]: balances(name, options) } })
  await app.settle()
  const took = performance.now() - began
  await app.stop()
  return took
}

/**
 * Throws unless the read model is what its log says.
 * @param {import('pg').Pool} pool
 * @param {string} schema
 * @param {string} table with a column "row"
 * @param {number} events
 */
export async function checkRows(pool, schema, table, events) {
  const { rows } = await pool.query(
    `select (select sum((row ->> 'events')::int) from ${table})::int as events, (select sum((row ->> 'balance')::bigint) from ${table})::text as balance,
       (select sum((data ->> 'amount')::bigint) from ${schema}.event)::text as amount`,
  )
  const [row] = rows
  if (row.events !== events || row.balance !== row.amount) throw new Error(`${table} is not the fold of its log: ${JSON.stringify(row)}`)
}
