import { randomUUID } from 'node:crypto'
import { query, type } from 'headwater'
import { balances, commands } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { startChild } from '../child.mjs'
import { closedLoop, interleave, median, paced, percentile } from '../timing.mjs'

export const name = 'apart'
export const title = 'queries while 500 commands a second run: in the process of the commands, and in one of their own'

const perSecond = 500
const clients = 8
/** More than a process can use: no limit. */
const cores = 100

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const ms = quick ? 1000 : 8000
  const schema = place.schema('h')
  const model = balances('balances')
  const balance = query('balance', { input: type(), reads: { model }, execute: ({ id }, { model }) => model.get(id) })
  const app = await startApplication(place, { schema, commands, readModels: { model }, queries: { balance } })
  const ids = Array.from({ length: 1000 }, () => randomUUID())
  for (let i = 0; i < ids.length; i += 100) await Promise.all(ids.slice(i, i + 100).map((id) => app.execute('open', { id, amount: 1 })))
  await app.settle()
  const reader = await startChild(place, 'reader.mjs', [place.url, schema])
  const ask = (share) => reader.ask({ ids, clients, ms, share })
  const here = async () => ({
    ...(await closedLoop({ clients, ms }, (_client, i) => app.query('balance', { id: ids[i % ids.length] }))),
    cpu: 0,
  })
  const measure = (queries) => () => whileWriting(app, ids, queries)
  const rounds = await interleave(3, {
    none: measure(() => idle(ms)),
    same: measure(here),
    apart: measure(() => ask(cores)),
    half: measure(() => ask(0.5)),
  })
  await reader.ask({ ask: 'stop' })
  const of = (side, property) => median(rounds[side].map((round) => round[property]))
  const labels = {
    none: 'no queries',
    same: 'queries in the process of the commands',
    apart: 'queries in a process of their own',
    half: 'queries in a process of their own, half a core',
  }
  for (const [side, label] of Object.entries(labels)) {
    if (side !== 'none') report.add({ bench: name, case: label, value: of(side, 'queries'), unit: 'queries/s' })
    report.add({ bench: name, case: `${label}: CPU of the commands' process`, value: of(side, 'cpu') * 100, unit: '% of a core' })
    if (of(side, 'readerCpu') > 0)
      report.add({ bench: name, case: `${label}: CPU of the other`, value: of(side, 'readerCpu') * 100, unit: '% of a core' })
    report.add({
      bench: name,
      case: `${label}: p99 of a command`,
      value: of(side, 'p99'),
      unit: 'ms',
      ...(side !== 'none' && { against: labels.none, ratio: of(side, 'p99') / of('none', 'p99') }),
      ...(side === 'half' && { target: { ratioAtMost: 1.2 } }),
    })
  }
}

const idle = async (ms) => {
  await new Promise((resolve) => setTimeout(resolve, ms))
  return { perSecond: 0, cpu: 0 }
}

/** What commands take at a steady rate, while `queries` run. */
async function whileWriting(app, ids, queries) {
  const latencies = []
  const before = process.cpuUsage()
  const began = performance.now()
  const load = paced(perSecond, async (n) => {
    const sent = performance.now()
    await app.execute('deposit', { id: ids[(n * 7) % ids.length], amount: 1 })
    latencies.push(performance.now() - sent)
  })
  const { perSecond: answered, cpu: readerCpu } = await queries()
  await load.stop()
  const { user, system } = process.cpuUsage(before)
  return { queries: answered, readerCpu, cpu: (user + system) / 1000 / (performance.now() - began), p99: percentile(latencies, 0.99) }
}
