import { quote } from '../database/identifier.ts'
import { type BuildProgress, builtInMs, type RangeOwner, type ReadModelState, type ReadModelStatus } from '../read-model/read-model.ts'
import type { Store } from '../read-model/store.ts'
import { outOfSight, type StoreSight, storeSight } from '../read-model/store-sight.ts'
import { inUnknownStore } from '../read-model/unknown-store.ts'
import { type ProjectionRuntime, type ProjectionVersion, storedModel } from './registry.ts'

export interface StatusOptions {
  /** The projections that this process defines. */
  readonly defined: ReadonlySet<string>
  /** Where a version's rows are; undefined: in a store that this process does not know. */
  readonly storeOf: (version: ProjectionVersion) => Store | undefined
  /** What keeps a version from getting on in this process. */
  readonly trouble: (id: number) => string | undefined
}

interface Counts {
  readonly id: number
  readonly position: number
  readonly head: number
  readonly lagMs: number | null
  readonly parked: number
  readonly logBytes: number
  readonly buildMs: number | null
  readonly owners: readonly RangeOwner[]
}

/** The state of every projection in the database, defined in this process or not. */
export async function projectionStatuses(
  runtime: ProjectionRuntime,
  versions: readonly ProjectionVersion[],
  options: StatusOptions,
): Promise<readonly ReadModelStatus[]> {
  const models = [...new Set(versions.map(({ name }) => name))].flatMap((name) => {
    const own = versions.filter((version) => version.name === name)
    const shown = own.find(({ active }) => active) ?? own.at(-1)
    // All stores are asked at once: those that do not answer are waited for together.
    return shown ? [{ own, shown, sight: sightOf(runtime, shown, options) }] : []
  })
  const counts = await readCounts(runtime)
  const statuses: ReadModelStatus[] = []
  for (const model of models) statuses.push(await statusOf(runtime, model, counts, options))
  return statuses
}

/** The versions of a projection, the one that its status tells of, and what its store, if that is not the write database, says of it. */
interface Shown {
  readonly own: readonly ProjectionVersion[]
  readonly shown: ProjectionVersion
  readonly sight: Promise<StoreSight> | undefined
}

async function statusOf(
  runtime: ProjectionRuntime,
  { own, shown, sight }: Shown,
  counts: ReadonlyMap<number, Counts>,
  options: StatusOptions,
): Promise<ReadModelStatus> {
  const building = own.findLast(({ state }) => state === 'building')
  const count = counts.get(shown.id)
  const seen = await sight
  const size = seen?.size ?? (await runtime.store.size?.(storedModel(runtime.schema, shown)).catch(() => undefined))
  const trouble = options.trouble(shown.id)
  return {
    name: shown.name,
    mode: shown.mode,
    state: stateOf(shown, building, options.defined.has(shown.name)),
    version: shown.active ? shown.version : undefined,
    lagMs: Math.round(Math.max(0, count?.lagMs ?? 0)),
    pending: Math.max(0, (count?.head ?? 0) - (count?.position ?? 0)),
    parked: seen?.parked ?? count?.parked ?? 0,
    available: shown.store === null || (seen?.answers ?? trouble === undefined),
    rows: size?.rows ?? 0,
    bytes: size?.bytes ?? 0,
    sources: [{ table: `${runtime.schema}.event`, rows: count?.head ?? 0, bytes: count?.logBytes ?? 0 }],
    build: building && progressOf(building, counts.get(building.id)),
    builtInMs: builtInMs(shown),
    error:
      own.find(({ state }) => state === 'stopped')?.error ?? trouble ?? (seen === outOfSight ? inUnknownStore(shown.store) : undefined),
    advice: [],
    owners: count?.owners ?? [],
  }
}

function stateOf(shown: ProjectionVersion, building: ProjectionVersion | undefined, defined: boolean): ReadModelState {
  if (!defined) return 'orphaned'
  if (shown.state === 'stopped' || shown.state === 'paused') return shown.state
  if (!shown.active || shown.state === 'building') return 'building'
  return building ? 'rebuilding' : 'live'
}

/** Counted in events. */
function progressOf(version: ProjectionVersion, count: Counts | undefined): BuildProgress {
  const done = count?.position ?? 0
  const total = Math.max(version.buildTotal ?? 0, count?.head ?? 0)
  const elapsed = count?.buildMs ?? 0
  const perSecond = elapsed > 0 ? Math.round((done / elapsed) * 1000) : 0
  return {
    version: version.version,
    keysDone: done,
    keysTotal: total,
    startedAt: version.buildStartedAt ?? new Date().toISOString(),
    etaMs: done > 0 && elapsed > 0 ? Math.round((elapsed / done) * Math.max(0, total - done)) : undefined,
    perSecond,
  }
}

async function readCounts({ database, schema }: ProjectionRuntime): Promise<ReadonlyMap<number, Counts>> {
  const s = quote(schema)
  const { rows } = await database.query<Counts>(
    `select p.id, c.position, h.head, pg_total_relation_size('${s.replaceAll("'", "''")}.event')::int8 as "logBytes",
       (select extract(epoch from clock_timestamp() - e.time) * 1000 from ${s}.event e where e.position = c.position + 1)::float8 as "lagMs",
       (select count(*)::int from ${s}.parked_key k where k.projection = p.id) as parked,
       (select coalesce(json_agg(json_build_object('first', o.first, 'last', o.last, 'position', o.position,
          'owner', case when o.lease_until > clock_timestamp() then o.owner end) order by o.first), '[]')
        from ${s}.checkpoint o where o.projection = p.id) as owners,
       (extract(epoch from coalesce(p.built_at, clock_timestamp()) - p.build_started_at) * 1000)::float8 as "buildMs"
     from ${s}.projection p
     cross join lateral (select coalesce(min(c.position), 0) as position from ${s}.checkpoint c where c.projection = p.id) c
     cross join (select coalesce((select e.position from ${s}.event e order by e.position desc limit 1), 0) as head) h`,
    [],
    { prepare: true },
  )
  return new Map(rows.map((row) => [row.id, row]))
}

/** What the store of a version says of it; undefined: its rows are in the write database. Of a store that this process does not know nothing is known. */
function sightOf(
  { clock, schema }: ProjectionRuntime,
  version: ProjectionVersion,
  { storeOf }: StatusOptions,
): Promise<StoreSight> | undefined {
  if (version.store === null) return undefined
  const store = storeOf(version)
  if (!store) return Promise.resolve(outOfSight)
  return storeSight(clock, store, storedModel(schema, version))
}
