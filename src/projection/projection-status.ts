import { quote } from '../database/identifier.ts'
import type { BuildProgress, RangeOwner, ReadModelState, ReadModelStatus } from '../read-model/read-model.ts'
import type { Store, StoreSize } from '../read-model/store.ts'
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
  const counts = await readCounts(runtime)
  const statuses: ReadModelStatus[] = []
  for (const name of new Set(versions.map((version) => version.name))) {
    const own = versions.filter((version) => version.name === name)
    const shown = own.find(({ active }) => active) ?? own.at(-1)
    if (shown) statuses.push(await statusOf(runtime, own, shown, counts, options))
  }
  return statuses
}

async function statusOf(
  runtime: ProjectionRuntime,
  own: readonly ProjectionVersion[],
  shown: ProjectionVersion,
  counts: ReadonlyMap<number, Counts>,
  options: StatusOptions,
): Promise<ReadModelStatus> {
  const building = own.findLast(({ state }) => state === 'building')
  const count = counts.get(shown.id)
  const { size, parked } = await inStore(runtime, shown, options, count?.parked ?? 0)
  return {
    name: shown.name,
    mode: shown.mode,
    state: stateOf(shown, building, options.defined.has(shown.name)),
    version: shown.active ? shown.version : undefined,
    lagMs: Math.round(Math.max(0, count?.lagMs ?? 0)),
    pending: Math.max(0, (count?.head ?? 0) - (count?.position ?? 0)),
    parked,
    rows: size.rows,
    bytes: size.bytes,
    sources: [{ table: `${runtime.schema}.event`, rows: count?.head ?? 0, bytes: count?.logBytes ?? 0 }],
    build: building && progressOf(building, counts.get(building.id)),
    builtInMs: shown.builtAt && shown.buildStartedAt ? Math.round(Date.parse(shown.builtAt) - Date.parse(shown.buildStartedAt)) : undefined,
    error: own.find(({ state }) => state === 'stopped')?.error ?? options.trouble(shown.id) ?? undefined,
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

/** A store that does not answer must not hide how the others are. */
async function inStore(
  { schema }: ProjectionRuntime,
  version: ProjectionVersion,
  { storeOf }: StatusOptions,
  parkedHere: number,
): Promise<{ readonly size: StoreSize; readonly parked: number }> {
  const store = storeOf(version)
  const unknown = { rows: 0, bytes: 0 }
  if (!store) return { size: unknown, parked: parkedHere }
  try {
    const model = storedModel(schema, version)
    const size = (await store.size?.(model)) ?? unknown
    return { size, parked: version.store === null ? parkedHere : (await store.load(model, [])).parked }
  } catch {
    return { size: unknown, parked: parkedHere }
  }
}
