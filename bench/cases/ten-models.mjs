import { randomUUID } from 'node:crypto'
import { commands } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { startChild } from '../child.mjs'
import { watchConnections } from '../server-cpu.mjs'
import { interleave, median, paced, sleep } from '../timing.mjs'

export const name = 'ten-models'
export const title = 'CPU of ten live read models on one log, against one'

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const perSecond = quick ? 200 : 2000
  const ms = quick ? 1000 : 8000
  const sides = { one: 1, ten: 10 }
  const server = place.pool(1, 'public')
  const rounds = await interleave(
    quick ? 1 : 3,
    Object.fromEntries(Object.entries(sides).map(([side, models]) => [side, folding(place, { server, side, models, perSecond, ms })])),
  )
  const of = (side, property) => median(rounds[side].map((round) => round[property]))
  const add = (what, property, target) => {
    const [one, ten] = [of('one', property), of('ten', property)]
    report.add({ bench: name, case: `one read model: ${what}`, value: one, unit: '% of a core' })
    report.add({ bench: name, case: `ten read models: ${what}`, value: ten, unit: '% of a core', against: 'one', ratio: ten / one, target })
  }
  if (of('one', 'server') > 0) add('process and its connections', 'both', { ratioAtMost: 3 })
  add('process alone', 'process')
  for (const side of Object.keys(sides))
    report.add({ bench: name, case: `${side}: behind when the load ended`, value: of(side, 'behindMs'), unit: 'ms' })
}

/** One round: a process that folds is started, events are written at a rate by this one, and what it uses is measured. */
function folding(place, { server, side, models, perSecond, ms }) {
  const schema = place.schema(side)
  const names = Array.from({ length: models }, (_model, i) => `balances_${i}`)
  const accounts = Array.from({ length: 1000 }, () => randomUUID())
  return async () => {
    const folder = await startChild(place, 'folder.mjs', [place.url, schema, ...names])
    await folder.ask({ ask: 'start' })
    const writer = await startApplication(place, { schema, commands, poolSize: 4 })
    const load = paced(perSecond, (n) => writer.execute('deposit', { id: accounts[n % accounts.length], amount: 1 }))
    await sleep(ms / 4)
    const connections = watchConnections(server, 'headwater bench folder')
    const { cpuMs } = await folder.ask({ ask: 'watch', ms })
    const serverMs = await connections.stop()
    await load.stop()
    const { ms: behindMs } = await folder.ask({ ask: 'settle' })
    await folder.ask({ ask: 'stop' })
    await writer.stop()
    const share = (used) => (used / ms) * 100
    return { process: share(cpuMs), server: share(serverMs), both: share(cpuMs + serverMs), behindMs }
  }
}
