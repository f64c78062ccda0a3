import { randomUUID } from 'node:crypto'
import { query, type } from 'headwater'
import { balances, commands } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { startChild } from '../child.mjs'
import { storeOf } from '../store-of.mjs'
import { openStores } from '../stores.mjs'
import { closedLoop, interleave, median, paced, percentile } from '../timing.mjs'

export const name = 'apart'
export const title = 'queries while 500 commands a second run: in the process of the commands, and in one of their own'

const perSecond = 500
const clients = 8
/** More than there are: no limit. */
const cores = 100

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const redis = (await openStores(place, report)).find(({ kind }) => kind === 'redis')
  await measureRowsIn('PostgreSQL', undefined, { place, report, quick })
  if (redis) await measureRowsIn('Redis', redis.address, { place, report, quick })
}

async function measureRowsIn(label, address, { place, report, quick }) {
  const ms = quick ? 1000 : 8000
  const schema = place.schema(label.toLowerCase())
  const model = balances('balances', address ? { store: storeOf(address) } : {})
  const balance = query('balance', { input: type(), reads: { model }, execute: ({ id }, { model }) => model.get(id) })
  const app = await startApplication(place, { schema, commands, readModels: { model }, queries: { balance } })
  const ids = Array.from({ length: 1000 }, () => randomUUID())
  for (let i = 0; i < ids.length; i += 100) await Promise.all(ids.slice(i, i + 100).map((id) => app.execute('open', { id, amount: 1 })))
  await app.settle()
  const reader = await startChild(place, 'reader.mjs', [place.url, schema, ...(address ? [JSON.stringify(address)] : [])])
  const ask = (share) => () => reader.ask({ ids, clients, ms, share })
  const here = async () => ({
    ...(await closedLoop({ clients, ms }, (_client, i) => app.query('balance', { id: ids[i % ids.length] }))),
    cpu: 0,
    serverCpu: 0,
  })
  const measure = (queries) => () => whileWriting(app, ids, queries)
  const rounds = await interleave(quick ? 1 : 5, {
    none: measure(() => idle(ms)),
    same: measure(here),
    apart: measure(ask(cores)),
    half: measure(ask(0.5)),
  })
  await reader.ask({ ask: 'stop' })
  await app.stop()
  tell(report, label, (side, property) => median(rounds[side].map((round) => round[property])))
}

const labels = {
  none: 'no queries',
  same: 'queries in the process of the commands',
  apart: 'queries in a process of their own',
  half: 'the same, with half a core in all',
}

function tell(report, place, of) {
  for (const [side, label] of Object.entries(labels)) {
    const add = (what, value, unit, rest = {}) =>
      report.add({ bench: name, case: `rows in ${place}, ${label}${what}`, value, unit, ...rest })
    if (side !== 'none') add('', of(side, 'queries'), 'queries/s')
    add(": CPU of the commands' process", of(side, 'cpu') * 100, '% of a core')
    if (of(side, 'readerCpu') > 0) add(': CPU of the other', of(side, 'readerCpu') * 100, '% of a core')
    if (of(side, 'readerServerCpu') > 0) add(": CPU of the other's connections", of(side, 'readerServerCpu') * 100, '% of a core')
    add(': p99 of a command', of(side, 'p99'), 'ms', {
      ...(side !== 'none' && { against: labels.none, ratio: of(side, 'p99') / of('none', 'p99') }),
      ...(side === 'half' && { target: { ratioAtMost: 1.2 } }),
    })
  }
}

const idle = async (ms) => {
  await new Promise((resolve) => setTimeout(resolve, ms))
  return { perSecond: 0, cpu: 0, serverCpu: 0 }
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
  const { perSecond: answered, cpu: readerCpu, serverCpu: readerServerCpu } = await queries()
  await load.stop()
  const { user, system } = process.cpuUsage(before)
  const took = performance.now() - began
  return { queries: answered, readerCpu, readerServerCpu, cpu: (user + system) / 1000 / took, p99: percentile(latencies, 0.99) }
}
