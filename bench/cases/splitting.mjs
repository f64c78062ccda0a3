import { balances, commands, fillLog } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { startChild } from '../child.mjs'
import { registerLive } from '../projecting.mjs'
import { interleave, median } from '../timing.mjs'

export const name = 'splitting'
export const title = 'one read model divided over two processes, a fold of 0.5 ms an event'

const foldMs = 0.5

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const size = quick ? { count: 1000, accounts: 100 } : { count: 20_000, accounts: 2000 }
  const rounds = 3
  const schema = place.schema('h')
  const names = ['whole', 'halved'].flatMap((name) => Array.from({ length: rounds }, (_name, i) => `${name}_${i}`))
  await registerLive(place, schema, names)
  for (const name of names.filter((name) => name.startsWith('halved'))) {
    const app = await startApplication(place, { schema, commands, readModels: { [name]: balances(name) } })
    await app.projection(name).divide(2)
    await app.stop()
  }
  await fillLog(place.pool(1, 'public'), schema, size)
  const caughtUp = (name, processes) => async (round) => {
    const start = () =>
      startChild(place, 'folder.mjs', [place.url, schema, `${name}_${round}`], process.execArgv, { FOLD_MS: String(foldMs) })
    const folders = await Promise.all(Array.from({ length: processes }, start))
    const began = performance.now()
    await Promise.all(folders.map((folder) => folder.ask({ ask: 'start' })))
    const perSecond = size.count / ((performance.now() - began) / 1000)
    await Promise.all(folders.map((folder) => folder.ask({ ask: 'stop' })))
    return perSecond
  }
  const figures = await interleave(rounds, { one: caughtUp('whole', 1), two: caughtUp('halved', 2) })
  const [one, two] = [median(figures.one), median(figures.two)]
  const unit = 'events/s'
  report.add({ bench: name, case: 'one process', value: one, unit })
  report.add({
    bench: name,
    case: 'two processes',
    value: two,
    unit,
    against: 'one process',
    ratio: two / one,
    target: { ratioAtLeast: 1.6 },
  })
}
