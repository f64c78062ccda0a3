import { commands, fillLog } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { idOf } from '../database.mjs'
import { openEmmett } from '../peers/emmett.mjs'
import { closedLoop, interleave, medians } from '../timing.mjs'

export const name = 'decide'
export const title = 'read, decide, append: streams of 10 events, 64 in flight'

const clients = 64

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const accounts = quick ? 500 : 10_000
  const ms = quick ? 300 : 4000
  const size = { count: accounts * 10, accounts }
  const pool = place.pool(2, 'public')
  const anyOf = (client, request) => idOf('account', 1 + ((client * 611953 + request * 7919) % accounts))
  const load = (work) => closedLoop({ clients, ms }, (client, request) => work(anyOf(client, request)))

  report.say('  filling')
  const cached = await filled(place, pool, 'c', size, {})
  const read = await filled(place, pool, 'r', size, { stateCache: { entries: 0 } })
  const emmett = openEmmett(await place.database('emmett'))
  place.onClose(() => emmett.close())
  await emmett.migrate()
  await emmett.fill(size)

  report.say('  measuring')
  // Hot streams are those that this process knows.
  for (let first = 1; first <= accounts; first += clients) {
    const ids = Array.from({ length: Math.min(clients, accounts - first + 1) }, (_id, i) => idOf('account', first + i))
    await Promise.all(ids.map((id) => cached.app.execute('deposit', { id, amount: 1 })))
  }
  const rounds = await interleave(3, {
    cached: async () => (await load((id) => cached.app.execute('deposit', { id, amount: 1 }))).perSecond,
    read: async () => {
      // Without a cache the length of streams matters, so they are cut back to what they were.
      await pool.query(`delete from ${read.schema}.event where position > ${size.count}`)
      await pool.query(`vacuum ${read.schema}.event`)
      return (await load((id) => read.app.execute('deposit', { id, amount: 1 }))).perSecond
    },
    emmett: async () => (await load((id) => emmett.execute(id, 'MoneyDeposited'))).perSecond,
  })
  const value = medians(rounds)
  const unit = 'commands/s'
  report.add({ bench: name, case: 'Emmett, command handler', value: value.emmett, unit })
  const add = (label, side, ratioAtLeast) =>
    report.add({
      bench: name,
      case: label,
      value: value[side],
      unit,
      against: 'Emmett',
      ratio: value[side] / value.emmett,
      target: { ratioAtLeast },
    })
  add('execute(), no state cache', 'read', 6)
  add('execute(), hot streams', 'cached', 10)
}

async function filled(place, pool, label, size, options) {
  const schema = place.schema(label)
  await (await startApplication(place, { schema, commands })).stop()
  await fillLog(pool, schema, size)
  return { schema, app: await startApplication(place, { schema, commands, ...options }) }
}
