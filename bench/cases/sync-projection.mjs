import { balances, commands, fillLog } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { idOf } from '../database.mjs'
import { checkRows } from '../projecting.mjs'
import { closedLoop, interleave, medians } from '../timing.mjs'

export const name = 'sync-projection'
export const title = 'commands with a projection in their transaction, 64 in flight, against commands without'

const clients = 64

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const accounts = quick ? 500 : 10_000
  const ms = quick ? 300 : 4000
  const pool = place.pool(1, 'public')
  const open = async (label, readModels) => {
    const schema = place.schema(label)
    await (await startApplication(place, { schema, commands })).stop()
    await fillLog(pool, schema, { count: accounts * 10, accounts })
    const app = await startApplication(place, { schema, commands, ...(readModels && { readModels }) })
    await app.settle()
    return { schema, app }
  }
  const sides = { without: await open('without'), with: await open('with', { balances: balances('balances', { update: 'sync' }) }) }
  const load = ({ app }, ms) =>
    closedLoop({ clients, ms }, (client, request) =>
      app.execute('deposit', { id: idOf('account', 1 + ((client * 611953 + request * 7919) % accounts)), amount: 1 }),
    )
  for (const side of Object.values(sides)) await load(side, ms)
  const figures = await interleave(3, {
    without: async () => (await load(sides.without, ms)).perSecond,
    with: async () => (await load(sides.with, ms)).perSecond,
  })
  const { schema } = sides.with
  const { rows } = await pool.query(`select count(*)::int as n from ${schema}.event`)
  await checkRows(pool, schema, `${schema}.balances_v1`, rows[0].n)
  const value = medians(figures)
  const unit = 'commands/s'
  report.add({ bench: name, case: 'without', value: value.without, unit })
  report.add({
    bench: name,
    case: 'with a sync projection',
    value: value.with,
    unit,
    against: 'without',
    ratio: value.with / value.without,
    target: { ratioAtLeast: 0.5 },
  })
}
