import { fillLog } from '../accounts.mjs'
import { startChild } from '../child.mjs'
import { registerLive } from '../projecting.mjs'
import { median } from '../timing.mjs'

export const name = 'memory'
export const title = 'resident memory of a process that takes in 3,000,000 events'

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const size = quick ? { count: 20_000, accounts: 2000 } : { count: 3_000_000, accounts: 300_000 }
  const schema = place.schema('h')
  await registerLive(place, schema, ['live'])
  report.say('  filling')
  await fillLog(place.pool(1, 'public'), schema, size)
  // A name that is new to the log is built, one that is known catches up.
  for (const [label, model] of /** @type {const} */ ([
    ['live catch-up', 'live'],
    ['rebuild', 'built'],
  ])) {
    report.say(`  ${label}`)
    const folder = await startChild(place, 'folder.mjs', [place.url, schema, model])
    const { ms, rss } = await folder.ask({ ask: 'start' })
    await folder.ask({ ask: 'stop' })
    const third = Math.ceil(rss.length / 3)
    const [early, late] = [median(rss.slice(Math.ceil(third / 4), third)), median(rss.slice(-third))]
    report.add({ bench: name, case: `${label}, most`, value: Math.max(...rss), unit: 'MiB', target: { atMost: 400 } })
    report.add({
      bench: name,
      case: `${label}, in the last third`,
      value: late,
      unit: 'MiB',
      against: 'in the first',
      ratio: late / early,
      target: { ratioAtMost: 1.2 },
    })
    report.add({ bench: name, case: `${label}, rate`, value: size.count / (ms / 1000), unit: 'events/s' })
  }
}
