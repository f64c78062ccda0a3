import { randomUUID } from 'node:crypto'
import { commands, dataOf } from '../accounts.mjs'
import { startApplication } from '../application.mjs'
import { prepared } from '../database.mjs'
import { openAct } from '../peers/act.mjs'
import { openCastore } from '../peers/castore.mjs'
import { openEmmett } from '../peers/emmett.mjs'
import { closedLoop, interleave, medians } from '../timing.mjs'

export const name = 'append'
export const title = 'commands of one event to new streams, 64 in flight'

const clients = 64
const rowsPerInsert = 1000

const labels = {
  headwater: 'execute()',
  emmett: 'Emmett, append',
  emmettCommand: 'Emmett, command handler',
  castore: 'Castore, push',
  act: 'Act, action',
  bulk: `INSERT ... unnest, ${rowsPerInsert} rows`,
}

/** @type {import('../run.mjs').Benchmark['run']} */
export async function run({ place, report, quick }) {
  const ms = quick ? 300 : 4000
  const load = (work) => async () => (await closedLoop({ clients, ms }, work)).perSecond
  const app = await startApplication(place, { schema: place.schema('h'), commands })
  const peers = await openPeers(place, report)
  const bulk = await bulkInsert(place)
  const sides = {
    headwater: load(() => app.execute('open', { id: randomUUID(), amount: 1 })),
    ...Object.fromEntries(Object.entries(peers).map(([side, work]) => [side, load(work)])),
    bulk: async () => (await closedLoop({ clients: 1, ms }, bulk)).perSecond * rowsPerInsert,
  }
  // Connections, plans and code warm up.
  for (const side of Object.values(peers)) await closedLoop({ clients, ms: ms / 10 }, side)
  await closedLoop({ clients, ms: ms / 10 }, () => app.execute('open', { id: randomUUID(), amount: 1 }))
  const value = medians(await interleave(3, sides))
  const unit = 'events/s'
  for (const side of Object.keys(value)) report.add({ bench: name, case: labels[side], value: value[side], unit })
  const compare = (against, other, ratioAtLeast) =>
    report.add({
      bench: name,
      case: labels.headwater,
      value: value.headwater,
      unit,
      against,
      ratio: value.headwater / other,
      target: { ratioAtLeast },
    })
  compare(labels.emmett, value.emmett, 8)
  const best = Object.keys(peers).reduce((a, b) => (value[a] > value[b] ? a : b))
  compare(`best peer (${labels[best]})`, value[best], 2.5)
  compare(labels.bulk, value.bulk, 0.3)
}

async function openPeers(place, report) {
  const emmett = openEmmett(await place.database('emmett'))
  place.onClose(() => emmett.close())
  await emmett.migrate()
  const castore = await openCastore(await place.database('castore'))
  place.onClose(() => castore.close())
  /** @type {Record<string, () => Promise<unknown>>} */
  const peers = {
    emmett: () => emmett.append(randomUUID()),
    emmettCommand: () => emmett.execute(randomUUID(), 'AccountOpened'),
    castore: () => castore.append(randomUUID()),
  }
  try {
    const act = await openAct(await place.database('act'))
    place.onClose(() => act.close())
    await act.execute(randomUUID())
    peers.act = () => act.execute(randomUUID())
  } catch (error) {
    report.say(`  Act does not run on node ${process.versions.node}: ${error.message}`)
  }
  return peers
}

/** By hand, on one connection: what the tables and their indexes cost, when nothing is checked and nobody waits for a single event. */
async function bulkInsert(place) {
  const schema = place.schema('bulk')
  const pool = place.pool(1, schema)
  await pool.query(`create schema ${schema}; create table event (position bigint generated always as identity primary key, stream text collate "C" not null,
    version int not null, id uuid not null, type text not null, data json not null, metadata json not null, time timestamptz not null default now(), unique (stream, version))`)
  const insert = `insert into event (stream, version, id, type, data, metadata) select * from unnest($1::text[], $2::int[], $3::uuid[], $4::text[], $5::json[], $6::json[])`
  return () => {
    const ids = Array.from({ length: rowsPerInsert }, () => randomUUID())
    return prepared(pool, insert, [
      ids.map((id) => `account-${id}`),
      ids.map(() => 1),
      ids,
      ids.map(() => 'AccountOpened'),
      ids.map((id) => JSON.stringify(dataOf(id, 1))),
      ids.map(() => '{"command":"open"}'),
    ])
  }
}
