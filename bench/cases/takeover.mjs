import { randomUUID } from 'node:crypto'
import { commands } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { startChild } from '../child.mjs'
import { prepared } from '../database.mjs'
import { median, percentile, sleep } from '../timing.mjs'

export const name = 'takeover'
export const title = 'the owner of a read model is killed with kill -9: from there to the first event that another process folds'

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const kills = quick ? 2 : 50
  const schema = place.schema('h')
  const watcher = place.pool(1, 'public')
  const start = async () => {
    const folder = await startChild(place, 'folder.mjs', [place.url, schema, 'balances'])
    await folder.ask({ ask: 'start' })
    return folder
  }
  let owner = await start()
  const writer = await startApplication(place, { schema, commands, poolSize: 2 })
  const seen = async (id) => (await prepared(watcher, `select from ${schema}.balances_v1 where key = $1`, [id])).rowCount === 1
  const folded = async () => {
    const id = randomUUID()
    await writer.execute('open', { id, amount: 1 })
    while (!(await seen(id))) await sleep(2)
  }
  const times = []
  for (let i = 0; i < kills; i++) {
    const next = await start()
    await folded()
    // At any moment of its lease.
    await sleep(Math.random() * 1500)
    owner.kill('SIGKILL')
    const killed = performance.now()
    await folded()
    times.push(performance.now() - killed)
    owner = next
  }
  report.add({ bench: name, case: `p50 of ${kills}`, value: median(times), unit: 'ms' })
  report.add({ bench: name, case: `p99 of ${kills}`, value: percentile(times, 0.99), unit: 'ms', target: { atMost: 5000 } })
}
