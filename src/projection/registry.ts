import { createHash } from 'node:crypto'
import type { Database, SqlClient, Transaction } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { lockClass } from '../database/migrate.ts'
import { DefinitionError } from '../errors.ts'
import type { Clock } from '../internal/clock.ts'
import { canonicalJson } from '../internal/json.ts'
import type { Log } from '../internal/log.ts'
import type { EventLog } from '../log/log.ts'
import type { Mode } from '../read-model/read-model.ts'
import { createRowTable } from '../read-model/row-table.ts'
import type { Store, StoredModel } from '../read-model/store.ts'
import { type MemberType, memberTypes } from './member-types.ts'
import type { Projection } from './projection-definition.ts'

/** What projections run on; `app/` fills it. */
export interface ProjectionRuntime {
  readonly database: Database
  /** Headwater's own schema. Also the name under which other stores know this application. */
  readonly schema: string
  readonly eventLog: EventLog
  /** The store in the write database. */
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
}

export type ProjectionState = 'building' | 'live' | 'previous' | 'paused' | 'stopped'

/** What a reader must know of a version's rows. */
export interface ProjectionShape {
  readonly indexes: readonly { readonly name: string; readonly fields: readonly string[] }[]
  /** The members of a row, where its schema can say. */
  readonly members: readonly MemberType[]
}

/** One version of a projection, as the write database has it. */
export interface ProjectionVersion {
  readonly id: number
  readonly name: string
  readonly version: number
  readonly codeHash: string
  readonly mode: Mode
  readonly state: ProjectionState
  readonly error: string | null
  readonly errorCode: string | null
  /** Null: the write database. */
  readonly store: string | null
  readonly table: string
  readonly shape: ProjectionShape
  readonly buildStartedAt: string | null
  readonly buildTotal: number | null
  readonly builtAt: string | null
  /** Whether queries read this one. */
  readonly active: boolean
  readonly seenAt: string
}

/** Every version of every projection in the database, oldest first. */
export async function readProjections(client: SqlClient, schema: string): Promise<readonly ProjectionVersion[]> {
  const { rows } = await client.query<ProjectionVersion>(
    `select p.id, p.name, p.version, p.code_hash as "codeHash", p.mode, p.state, p.error, p.error_code as "errorCode", p.store, p.table_name as "table",
       p.shape, p.build_started_at as "buildStartedAt", p.build_total as "buildTotal", p.built_at as "builtAt",
       coalesce(r.active = p.id, false) as active, r.seen_at as "seenAt"
     from ${quote(schema)}.projection p join ${quote(schema)}.read_model r on r.name = p.name order by p.name, p.version`,
    [],
    { prepare: true },
  )
  return rows
}

const storedModels = new WeakMap<object, StoredModel>()

/** How a store knows a version: the same object each time, since stores remember what they made of it. */
export function storedModel(schema: string, version: Pick<ProjectionVersion, 'name' | 'version' | 'shape'>): StoredModel {
  const known = storedModels.get(version)
  if (known?.owner === schema) return known
  const made = { owner: schema, name: version.name, version: version.version, indexes: version.shape.indexes }
  storedModels.set(version, made)
  return made
}

/** What this process has to do with a projection that it defines. */
export type Registered =
  /** Its version is there now: fold it. */
  | { readonly kind: 'run'; readonly id: number; readonly made: boolean; readonly replaced: readonly ProjectionVersion[] }
  /** A newer version is live, and this process's own is gone: it reads that, and folds nothing. */
  | { readonly kind: 'older'; readonly active: number }

/**
 * Finds or makes the version of a projection that belongs to this definition. Versions are ordered by their number, so that an old process that comes
 * back never builds backwards. Processes that start together take turns.
 * @throws {DefinitionError} a materialized view has the name; the indexes changed under the same version
 */
export async function registerProjection(runtime: ProjectionRuntime, projection: Projection): Promise<Registered> {
  const { schema, log } = runtime
  const s = quote(schema)
  const name = projection.readModelName
  const { version, update } = projection['~projection']
  return await runtime.database.transaction(async (transaction) => {
    await transaction.query('select pg_advisory_xact_lock($1::int, 2)', [lockClass(schema) + 2])
    const { rows: views } = await transaction.query(`select from ${s}.view where name = $1 limit 1`, [name])
    if (views.length > 0)
      throw new DefinitionError(`projection ${name}: a materialized view of that name is in the database; drop it first`)
    await transaction.query(`insert into ${s}.read_model (name) values ($1) on conflict (name) do update set seen_at = clock_timestamp()`, [
      name,
    ])
    const versions = (await readProjections(transaction, schema)).filter((known) => known.name === name)
    const known = versions.find((one) => one.version === version)
    const active = versions.find((one) => one.active)
    if (!known) {
      const newer = versions.find((one) => one.version > version)
      if (newer) return { kind: 'older', active: active?.version ?? newer.version }
      return await create(runtime, transaction, projection, versions)
    }
    checkSame(projection, known)
    if (known.codeHash !== codeHash(projection)) {
      log('warn', `${name}: its code looks changed, but "version" is still ${version}; raise it to fold all events anew`)
    }
    await transaction.query(`update ${s}.projection set mode = $2, code_hash = $3 where id = $1`, [known.id, update, codeHash(projection)])
    return { kind: 'run', id: known.id, made: false, replaced: [] }
  })
}

async function create(
  runtime: ProjectionRuntime,
  transaction: Transaction,
  projection: Projection,
  versions: readonly ProjectionVersion[],
): Promise<Registered> {
  const { schema } = runtime
  const s = quote(schema)
  const { version, update, store } = projection['~projection']
  const table = `${projection.readModelName}_v${version}`
  const { rows } = await transaction.query<{ id: number }>(
    `insert into ${s}.projection (name, version, code_hash, mode, state, store, table_name, shape) values ($1, $2, $3, $4, 'building', $5, $6, $7::jsonb)
     returning id`,
    [projection.readModelName, version, codeHash(projection), update, store?.description ?? null, table, shapeOf(projection)],
  )
  const id = rows[0]?.id ?? 0
  // Whoever divided the one before wants the next one folded by as many, its build above all.
  await transaction.query(
    `insert into ${s}.checkpoint (projection, first, last, position)
     select $1::int, r.first, r.last, 0 from ${s}.checkpoint r where r.projection = $2::int and not $3
     union all select $1::int, 0, 63, 0 where $3 or not exists (select from ${s}.checkpoint r where r.projection = $2::int)`,
    [id, versions.find(({ active }) => active)?.id ?? null, update === 'sync'],
  )
  if (!store) await transaction.query(createRowTable(schema, table))
  // Versions that never came to serve make way: their successor is here.
  const replaced = versions.filter((old) => !old.active && old.builtAt === null)
  return { kind: 'run', id, made: true, replaced }
}

/** Which events a row is ordered by is stored with it, so other indexes are another version. */
function checkSame(projection: Projection, known: ProjectionVersion): void {
  const { indexes, store, version } = projection['~projection']
  if (canonicalJson(shapeOf(projection).indexes) !== canonicalJson(known.shape.indexes)) {
    throw new DefinitionError(
      `projection ${known.name}: its indexes (${Object.keys(indexes).join(', ') || 'none'}) are not those of version ${version} in the database; raise "version"`,
    )
  }
  if ((store?.description ?? null) !== known.store) {
    throw new DefinitionError(
      `projection ${known.name}: version ${version} is in ${known.store ?? 'the write database'}, not in ${store?.description ?? 'the write database'}; raise "version" to move it`,
    )
  }
}

function shapeOf(projection: Projection): ProjectionShape {
  const { indexes, row } = projection['~projection']
  return { indexes: Object.entries(indexes).map(([name, fields]) => ({ name, fields })), members: memberTypes(row) }
}

/** What the handlers and the key look like. Only a hint: it sees neither what they call nor the schema. */
function codeHash(projection: Projection): string {
  const { on, key } = projection['~projection']
  const code = Object.entries(on)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([type, handler]) => `${type}:${handler.toString()}`)
  return createHash('sha256')
    .update([...code, String(key)].join('\n'))
    .digest('hex')
}

/** Takes a version out: its rows, wherever they are, and what is known of it. */
export async function dropProjection(runtime: ProjectionRuntime, version: ProjectionVersion, store: Store): Promise<void> {
  await store.drop(storedModel(runtime.schema, version))
  await runtime.database.query(`delete from ${quote(runtime.schema)}.projection where id = $1`, [version.id])
}

/** An error that needs a person, or other code: the version stops, says so, and everything else goes on. */
export async function stopProjection(runtime: ProjectionRuntime, version: ProjectionVersion, code: string, reason: string): Promise<void> {
  await runtime.database.query(
    `update ${quote(runtime.schema)}.projection set state = 'stopped', error = $2, error_code = $3 where id = $1 and state <> 'paused'`,
    [version.id, reason, code],
  )
  runtime.log('error', `read model ${version.name} stopped`, { version: version.version, reason })
}

/** Lets a paused or stopped version go on as what it was. */
export async function restoreProjection(client: SqlClient, schema: string, id: number): Promise<void> {
  const s = quote(schema)
  await client.query(
    `update ${s}.projection p set error = null, error_code = null, state = case
       when p.built_at is not null and exists (select from ${s}.read_model r where r.active = p.id) then 'live'
       when p.built_at is not null and p.retired_at is not null then 'previous' else 'building' end
     where p.id = $1 and p.state in ('paused', 'stopped')`,
    [id],
  )
}

/** Whether a version is to be folded. */
export function isRunnable({ state }: ProjectionVersion): boolean {
  return state === 'building' || state === 'live' || state === 'previous'
}
