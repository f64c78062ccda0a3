import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import * as apart from './cases/apart.mjs'
import * as append from './cases/append.mjs'
import * as asyncDrain from './cases/async-drain.mjs'
import * as captureCost from './cases/capture-cost.mjs'
import * as catchUp from './cases/catch-up.mjs'
import * as commandOverhead from './cases/command-overhead.mjs'
import * as decide from './cases/decide.mjs'
import * as fanOut from './cases/fan-out.mjs'
import * as growth from './cases/growth.mjs'
import * as homeTimeline from './cases/home-timeline.mjs'
import * as hotPage from './cases/hot-page.mjs'
import * as maintainVsRefresh from './cases/maintain-vs-refresh.mjs'
import * as manyProcesses from './cases/many-processes.mjs'
import * as memory from './cases/memory.mjs'
import * as oneAtATime from './cases/one-at-a-time.mjs'
import * as pgliteAppend from './cases/pglite-append.mjs'
import * as projectionVisible from './cases/projection-visible.mjs'
import * as queryOverhead from './cases/query-overhead.mjs'
import * as rebuild from './cases/rebuild.mjs'
import * as splitting from './cases/splitting.mjs'
import * as storeCatchUp from './cases/store-catch-up.mjs'
import * as storeVisible from './cases/store-visible.mjs'
import * as syncProjection from './cases/sync-projection.mjs'
import * as takeover from './cases/takeover.mjs'
import * as tenModels from './cases/ten-models.mjs'
import * as writeToVisible from './cases/write-to-visible.mjs'
import { Workplace } from './database.mjs'
import { Report } from './report.mjs'

/**
 * @typedef {{
 *   readonly name: string, readonly title: string,
 *   readonly run: (context: { readonly place: Workplace, readonly report: Report, readonly quick: boolean }) => Promise<void>
 * }} Benchmark
 */

/** @type {readonly Benchmark[]} */
const benchmarks = [
  // tables and materialized views
  maintainVsRefresh,
  homeTimeline,
  captureCost,
  asyncDrain,
  fanOut,
  writeToVisible,
  commandOverhead,
  queryOverhead,
  // events
  append,
  decide,
  oneAtATime,
  manyProcesses,
  growth,
  catchUp,
  rebuild,
  tenModels,
  projectionVisible,
  syncProjection,
  pgliteAppend,
  memory,
  // stores and processes
  storeCatchUp,
  storeVisible,
  hotPage,
  apart,
  takeover,
  splitting,
]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const unknown = positionals.filter((name) => benchmarks.every((benchmark) => benchmark.name !== name))
if (values.help || unknown.length > 0) {
  for (const name of unknown) process.stderr.write(`there is no benchmark ${name}\n`)
  process.stdout.write(
    `npm run bench -- [--json] [--quick] [name ...]\n${benchmarks.map(({ name, title }) => `  ${name.padEnd(20)} ${title}\n`).join('')}`,
  )
  process.exit(unknown.length > 0 ? 2 : 0)
}

const url = process.env.DATABASE_URL || 'postgres://postgres@127.0.0.1:5432/test'
const report = new Report(values.json)
const chosen = benchmarks.filter(({ name }) => positionals.length === 0 || positionals.includes(name))

/** @type {Workplace | undefined} */
let place
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.once(signal, () => {
    void (place?.close() ?? Promise.resolve()).finally(() => process.exit(130))
  })
}

report.say(`node ${process.versions.node}, ${cpus().length} cores${values.quick ? ', quick: the figures mean nothing' : ''}`)
for (const benchmark of chosen) {
  place = new Workplace(url, benchmark.name)
  report.say(`${benchmark.name}: ${benchmark.title}`)
  try {
    await benchmark.run({ place, report, quick: values.quick })
  } finally {
    await place.close()
  }
  report.table(`${benchmark.name}: ${benchmark.title}`)
}
