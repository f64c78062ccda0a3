import { randomUUID } from 'node:crypto'
import { postgres } from 'headwater/postgres'
// Reading the log is not an application's own business, so the package has no door to it.
import { readEvents } from '../../dist/log/read-events.js'
import { commands, fillLog } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { interleave, median, medians, timed } from '../timing.mjs'

export const name = 'growth'
export const title = 'what an append and a read of the next 1,000 events cost as the log grows'

const clients = 64

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const sizes = quick ? [1000, 5000, 20_000] : [10_000, 100_000, 1_000_000, 3_000_000]
  const commandsPerRound = quick ? 256 : 4096
  const reading = postgres(place.url, { poolSize: 1, applicationName: 'headwater bench' })
  place.onClose(() => reading.close())
  /** @type {Record<string, (round: number) => Promise<number>>} */
  const appends = {}
  /** @type {Record<string, (round: number) => Promise<number>>} */
  const reads = {}
  for (const count of sizes) {
    report.say(`  filling ${count}`)
    const { schema, app } = await atSize(place, count)
    appends[count] = async () => (await appendAll(app, commandsPerRound)) / commandsPerRound
    for (const [where, share] of /** @type {const} */ ([
      ['start', 0],
      ['middle', 0.5],
      ['end', 1],
    ])) {
      const after = Math.max(0, Math.floor(share * count) - 1000)
      reads[`${count} ${where}`] = async () => await readFrom(reading, schema, after, quick ? 3 : 20)
    }
  }
  report.say('  measuring')
  for (const append of Object.values(appends)) await append(0)
  const rounds = quick ? 3 : 5
  const [append, read] = [medians(await interleave(rounds, appends)), medians(await interleave(rounds, reads))]
  const add = (label, value, first, firstLabel, target) =>
    report.add({
      bench: name,
      case: label,
      value,
      unit: 'ms',
      ...(first !== value && { against: firstLabel, ratio: value / first, target }),
    })
  const [first] = sizes
  for (const count of sizes) {
    add(
      `append to ${count} events, each of ${clients} in flight`,
      append[count],
      append[first],
      `to ${first}`,
      count === sizes.at(-1) ? { ratioAtMost: 1.2 } : undefined,
    )
  }
  for (const [place, value] of Object.entries(read)) {
    add(
      `next 1,000 of ${place}`,
      value,
      read[`${first} start`],
      `${first} start`,
      place.startsWith(`${sizes.at(-1)} `) ? { ratioAtMost: 1.2 } : undefined,
    )
  }
}

async function atSize(place, count) {
  const schema = place.schema(`s${count}`)
  await (await startApplication(place, { schema, commands })).stop()
  await fillLog(place.pool(1, 'public'), schema, { count, accounts: Math.ceil(count / 10) })
  return { schema, app: await startApplication(place, { schema, commands, poolSize: 4, pollIntervalMs: 1000 }) }
}

/** So many commands of one event to new streams: few enough that the log stays about as long as it was. */
async function appendAll(app, count) {
  let left = count
  const client = async () => {
    while (left-- > 0) await app.execute('open', { id: randomUUID(), amount: 1 })
  }
  return await timed(() => Promise.all(Array.from({ length: clients }, client)))
}

async function readFrom(database, schema, after, times) {
  const took = []
  for (let i = 0; i < times; i++) {
    took.push(
      await timed(async () => {
        const events = await readEvents({ database, schema }, { after, limit: 1000 })
        if (events.length !== 1000 || events[0]?.position !== after + 1) throw new Error('a read gave something else than the next 1,000')
      }),
    )
  }
  return median(took)
}
