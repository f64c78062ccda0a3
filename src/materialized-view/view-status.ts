import { quote } from '../database/identifier.ts'
import { type BuildProgress, builtInMs, type ReadModelState, type ReadModelStatus } from '../read-model/read-model.ts'
import { outOfSight, type StoreSight, storeSight } from '../read-model/store-sight.ts'
import { inUnknownStore } from '../read-model/unknown-store.ts'
import type { ViewRuntime, ViewVersion } from './registry.ts'
import { storedView } from './stored-view.ts'

interface Size {
  readonly rows: number
  readonly bytes: number
}

/** The state of every read model in the database, defined in this process or not. */
export async function viewStatuses(
  runtime: ViewRuntime,
  versions: readonly ViewVersion[],
  options: { readonly defined: ReadonlySet<string>; readonly lagMs: (view: number) => number },
): Promise<readonly ReadModelStatus[]> {
  const names = [...new Set(versions.map(({ name }) => name))]
  const models = names.flatMap((name) => {
    const own = versions.filter((version) => version.name === name)
    const shown = own.find(({ active }) => active) ?? own.at(-1)
    // All stores are asked at once: those that do not answer are waited for together.
    return shown ? [{ own, shown, sight: sightOf(runtime, shown) }] : []
  })
  const counts = await readCounts(runtime)
  const statuses: ReadModelStatus[] = []
  for (const model of models) statuses.push(await statusOf(runtime, model, counts, options))
  return statuses
}

/** The versions of a view, the one that its status tells of, and what its store, if it has one, says of it. */
interface Shown {
  readonly own: readonly ViewVersion[]
  readonly shown: ViewVersion
  readonly sight: Promise<StoreSight> | undefined
}

async function statusOf(
  runtime: ViewRuntime,
  { own, shown, sight }: Shown,
  counts: ReadonlyMap<number, Counts>,
  options: { readonly defined: ReadonlySet<string>; readonly lagMs: (view: number) => number },
): Promise<ReadModelStatus> {
  const building = own.findLast(({ state }) => state === 'building' || state === 'installing')
  const count = counts.get(shown.id)
  const seen = await sight
  const size = seen?.size ?? (await sizeOf(runtime, `${quote(runtime.schema)}.${quote(shown.table)}`))
  const sources = []
  for (const { table: source } of shown.shape.sources) {
    sources.push({ table: source, ...(await sizeOf(runtime, source)) })
  }
  return {
    name: shown.name,
    mode: shown.mode,
    state: stateOf(shown, building, options.defined.has(shown.name)),
    version: shown.active ? shown.version : undefined,
    lagMs: Math.round(options.lagMs(shown.id)),
    pending: count?.pending ?? 0,
    parked: count?.parked ?? 0,
    available: shown.store === null || (seen?.answers ?? shown.trouble === null),
    rows: size.rows,
    bytes: size.bytes,
    sources,
    build: building && progressOf(runtime, building, counts.get(building.id)),
    builtInMs: builtInMs(shown),
    error:
      own.find(({ state }) => state === 'stopped')?.error ??
      own.find(({ trouble }) => trouble !== null)?.trouble ??
      (seen === outOfSight ? inUnknownStore(shown.store) : undefined),
    advice: shown.shape.advice,
  }
}

function stateOf(shown: ViewVersion, building: ViewVersion | undefined, defined: boolean): ReadModelState {
  if (!defined) return 'orphaned'
  if (shown.state === 'stopped') return 'stopped'
  if (!shown.active || shown.filling) return 'building'
  return building ? 'rebuilding' : 'live'
}

function progressOf(runtime: ViewRuntime, version: ViewVersion, count: Counts | undefined): BuildProgress | undefined {
  if (version.buildStartedAt === null)
    return { version: version.version, keysDone: 0, keysTotal: 0, startedAt: new Date(runtime.clock.now()).toISOString(), etaMs: undefined }
  const keysTotal = version.keysTotal ?? 0
  const keysDone = Math.max(0, keysTotal - (count?.backfill ?? 0))
  const elapsed = runtime.clock.now() - Date.parse(version.buildStartedAt)
  const etaMs = keysDone > 0 ? Math.max(0, Math.round((elapsed / keysDone) * (keysTotal - keysDone))) : undefined
  return { version: version.version, keysDone, keysTotal, startedAt: version.buildStartedAt, etaMs }
}

interface Counts {
  readonly view: number
  /** Marks that wait, counted up to 10,000. */
  readonly pending: number
  /** Keys that a build has yet to select. */
  readonly backfill: number
  readonly parked: number
}

async function readCounts(runtime: ViewRuntime): Promise<ReadonlyMap<number, Counts>> {
  const schema = quote(runtime.schema)
  const { rows } = await runtime.database.query<Counts>(
    `select v.id as view,
       (select count(*) from (select from ${schema}.mark m where m.view = v.id and m.lane in (0, 1) limit 10000) m) as pending,
       (select coalesce(sum(cardinality(m.keys)), 0)::int8 from ${schema}.mark m where m.view = v.id and m.lane = 2) as backfill,
       (select count(*) from ${schema}.parked p where p.view = v.id) as parked
     from ${schema}.view v`,
    [],
    { prepare: true },
  )
  return new Map(rows.map((row) => [row.view, row]))
}

/** What the store of a version says of it; undefined: its rows are in a table. Of a store that this process does not know nothing is known. */
function sightOf(runtime: ViewRuntime, version: ViewVersion): Promise<StoreSight> | undefined {
  if (version.store === null) return undefined
  const view = storedView(runtime, version)
  if (!view) return Promise.resolve(outOfSight)
  return storeSight(runtime.clock, view.store, view.model)
}

/** Rows (counted where that is quick, else as the statistics say) and bytes with indexes. */
async function sizeOf(runtime: ViewRuntime, table: string): Promise<Size> {
  const { rows } = await runtime.database.query<{ bytes: number; estimate: number }>(
    `select coalesce(sum(pg_total_relation_size(f.oid)), 0)::int8 as bytes, coalesce(sum(greatest(c.reltuples, -1)), -1)::float8 as estimate
     from (with recursive family(oid) as (select to_regclass($1)::oid union select i.inhrelid from pg_catalog.pg_inherits i join family f on i.inhparent = f.oid)
           select oid from family) f join pg_catalog.pg_class c on c.oid = f.oid`,
    [table],
    { prepare: true },
  )
  const { bytes = 0, estimate = 0 } = rows[0] ?? {}
  if (bytes === 0) return { rows: 0, bytes: 0 }
  if (bytes > 64 * 2 ** 20 && estimate > 0) return { rows: Math.round(estimate), bytes }
  const { rows: counted } = await runtime.database.query<{ count: number }>(`select count(*) as count from ${table}`)
  return { rows: counted[0]?.count ?? 0, bytes }
}
