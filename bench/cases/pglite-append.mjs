import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { consoleLog, headwater } from 'headwater'
import { pglite } from 'headwater/postgres'
import { commands, dataOf } from '../accounts.mjs'
import { closedLoop, interleave, medians } from '../timing.mjs'

export const name = 'pglite-append'
export const title = 'embedded: commands of one event to new streams, 64 in flight, against single INSERTs on PGlite'

const clients = 64

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const ms = quick ? 300 : 4000
  const directory = await mkdtemp(join(tmpdir(), 'headwater-bench-'))
  place.onClose(() => rm(directory, { recursive: true, force: true }))
  const app = headwater({ database: pglite(join(directory, 'headwater')), commands, log: consoleLog({ minimum: 'error' }) })
  await app.start()
  place.onClose(() => app.stop())
  const single = await PGlite.create(join(directory, 'single'))
  place.onClose(() => single.close())
  await single.exec(`create table event (position bigint generated always as identity primary key, stream text collate "C" not null,
    version int not null, id uuid not null, type text not null, data json not null, metadata json not null, time timestamptz not null default now(), unique (stream, version))`)
  const insert = 'insert into event (stream, version, id, type, data, metadata) values ($1, $2, $3, $4, $5, $6)'
  const load = (work) => async () => (await closedLoop({ clients, ms }, work)).perSecond
  const sides = {
    headwater: load(() => app.execute('open', { id: randomUUID(), amount: 1 })),
    single: load(() => {
      const id = randomUUID()
      return single.query(insert, [`account-${id}`, 1, id, 'AccountOpened', dataOf(id, 1), { command: 'open' }])
    }),
  }
  for (const side of Object.values(sides)) await side()
  const value = medians(await interleave(3, sides))
  const unit = 'events/s'
  const against = 'single INSERTs'
  report.add({ bench: name, case: against, value: value.single, unit })
  report.add({
    bench: name,
    case: 'execute()',
    value: value.headwater,
    unit,
    against,
    ratio: value.headwater / value.single,
    target: { ratioAtLeast: 5 },
  })
}
