import { randomUUID } from 'node:crypto'
import { commands } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { startChild } from '../child.mjs'
import { openEmmett } from '../peers/emmett.mjs'
import { interleave, median, sleep } from '../timing.mjs'

export const name = 'many-processes'
export const title = 'several processes append to one log: new streams, one event each'

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const ms = quick ? 500 : 4000
  const rounds = quick ? 1 : 3
  const schema = place.schema('h')
  await (await startApplication(place, { schema, commands })).stop()
  const database = await place.database('emmett')
  const emmett = openEmmett(database, { poolSize: 1 })
  await emmett.migrate()
  await emmett.append(randomUUID())
  await emmett.close()
  const watcher = place.pool(1, 'public')
  const side = (which, processes, clients) => async () => {
    const own = which === 'headwater' ? [place.url, schema] : [database, '']
    return await together({ place, watcher, processes, ms, args: [which, ...own, String(clients)] })
  }
  const figures = await interleave(rounds, {
    lonely: side('headwater', 16, 1),
    lonelyPeer: side('emmett', 16, 1),
    one: side('headwater', 1, 64),
    four: side('headwater', 4, 64),
    fourPeer: side('emmett', 4, 64),
  })
  await noHole(watcher, schema)
  const of = (which, property) => median(figures[which].map((figure) => figure[property]))
  const unit = 'events/s'
  const add = (label, which, compared = {}) => {
    const value = of(which, 'perSecond')
    report.add({
      bench: name,
      case: label,
      value,
      unit,
      ...(compared.to && { against: compared.against, ratio: value / of(compared.to, 'perSecond'), target: compared.target }),
    })
    report.add({ bench: name, case: `${label}, p99`, value: of(which, 'p99'), unit: 'ms' })
  }
  add('Emmett, 16 processes, one in flight each', 'lonelyPeer')
  add('16 processes, one in flight each', 'lonely', { to: 'lonelyPeer', against: 'Emmett', target: { ratioAtLeast: 0.5 } })
  report.add({
    bench: name,
    case: '16 processes, one in flight each: wait for the lock on average',
    value: of('lonely', 'waiting'),
    unit: 'of 16',
  })
  report.add({ bench: name, case: '16 processes, one in flight each: wait of a command', value: of('lonely', 'waitMs'), unit: 'ms' })
  add('one process with 64', 'one')
  add('Emmett, 4 processes with 64 each', 'fourPeer')
  add('4 processes with 64 each', 'four', { to: 'one', against: 'one process with 64', target: { ratioAtLeast: 1 } })
  report.add({
    bench: name,
    case: '4 processes with 64 each',
    value: of('four', 'perSecond'),
    unit,
    against: 'Emmett',
    ratio: of('four', 'perSecond') / of('fourPeer', 'perSecond'),
  })
  report.add({ bench: name, case: '4 processes with 64 each: wait for the lock on average', value: of('four', 'waiting'), unit: 'of 4' })
}

/** Starts the processes, lets them write at the same time, and adds up. */
async function together({ place, watcher, processes, ms, args }) {
  const children = []
  // A few at a time: starting is work too.
  while (children.length < processes) {
    const some = Math.min(4, processes - children.length)
    children.push(...(await Promise.all(Array.from({ length: some }, () => startChild(place, 'writer.mjs', args)))))
  }
  const waits = watchLock(watcher)
  const answers = await Promise.all(children.map((child) => child.ask({ ms }))).finally(() => waits.end())
  const waiting = await waits.mean()
  const perSecond = answers.reduce((sum, answer) => sum + answer.perSecond, 0)
  return {
    perSecond,
    p99: Math.max(...answers.map(({ p99 }) => p99)),
    waiting,
    // By Little's law, where each statement has one event.
    waitMs: (waiting / perSecond) * 1000,
  }
}

const looking = `select count(*)::int as n from pg_stat_activity where wait_event = 'advisory' and application_name = 'headwater bench'`

/** How many sessions wait for the log's lock, on average. */
function watchLock(watcher) {
  let running = true
  let [looks, waiting] = [0, 0]
  const done = (async () => {
    for (; running; looks++) {
      const { rows } = await watcher.query(looking)
      waiting += rows[0].n
      await sleep(25)
    }
  })()
  // Heard when it is asked for.
  done.catch(() => {})
  return {
    async end() {
      running = false
      await done
    },
    async mean() {
      await done
      return waiting / looks
    },
  }
}

/** Nothing of what was written may be missing, or stand twice, or in another order. */
async function noHole(pool, schema) {
  const { rows } = await pool.query(
    `select count(*)::int as events, max(position)::int as head, count(distinct position)::int as positions, count(*) filter (where version <> 1)::int as versions,
       count(*) filter (where time < before)::int as earlier
     from (select position, version, time, lag(time) over (order by position) as before from ${schema}.event) e`,
  )
  const [{ events, head, positions, versions, earlier }] = rows
  if (events !== head || positions !== head || versions > 0 || earlier > 0)
    throw new Error(`the log has a hole: ${JSON.stringify(rows[0])}`)
}
