import { createHash } from 'node:crypto'
import type { Database, SqlClient, Transaction } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { lockClass } from '../database/migrate.ts'
import type { Clock } from '../internal/clock.ts'
import type { Log } from '../internal/log.ts'
import type { Mode } from '../read-model/read-model.ts'
import type { Store } from '../read-model/store.ts'
import type { Analysis } from './analysis/select-analysis.ts'
import { newerThan, readDefinitions, rememberDefinition, type SeenDefinition } from './definition-order.ts'
import type { MaterializedView, ViewDefinition } from './materialized-view.ts'
import { sortFormat } from './sort-value.ts'
import { functionNames, storeSql, viewSql } from './view-sql.ts'

export interface ViewRuntime {
  readonly database: Database
  /** Headwater's own schema. */
  readonly schema: string
  readonly clock: Clock
  readonly log: Log
  /** The stores of the views that this process defines, by the view's name. */
  readonly stores?: ReadonlyMap<string, Store> | undefined
}

export type VersionState = 'installing' | 'building' | 'live' | 'previous' | 'stopped'

/** What a reader must know of a version's table. */
export interface VersionShape {
  readonly columns: readonly { readonly name: string; readonly type: string; readonly collatable: boolean }[]
  readonly key: readonly string[]
  readonly indexes: Readonly<Record<string, readonly string[]>>
  readonly sources: readonly { readonly oid: number; readonly table: string }[]
  readonly advice: readonly string[]
}

/** One version of a view, as the database has it. */
export interface ViewVersion {
  readonly id: number
  readonly name: string
  readonly version: number
  readonly fingerprint: string
  readonly mode: Mode
  readonly state: VersionState
  readonly error: string | null
  readonly table: string
  /** What the store that holds its rows says it is; null: the table of the write database. */
  readonly store: string | null
  /** Of a version in another store: its rows are being written anew, and do not serve. */
  readonly filling: boolean
  /** Of a version in another store: why it does not get on. It is tried again. */
  readonly trouble: string | null
  readonly shape: VersionShape
  readonly keysTotal: number | null
  readonly buildStartedAt: string | null
  readonly builtAt: string | null
  /** Whether queries read this one. */
  readonly active: boolean
  readonly seenAt: string
  /** Whether its tables are watched for it: not after it was orphaned for a day. */
  readonly watched: boolean
}

/** Every version of every view in the database, oldest first. */
export async function readVersions(client: SqlClient, schema: string): Promise<readonly ViewVersion[]> {
  const { rows } = await client.query<ViewVersion>(
    `select v.id, v.name, v.version, v.fingerprint, v.mode, v.state, v.error, v.table_name as "table", v.store,
       coalesce(t.filling, false) as filling, t.trouble, v.shape, v.keys_total as "keysTotal",
       v.build_started_at as "buildStartedAt", v.built_at as "builtAt", coalesce(r.active = v.id, false) as active, r.seen_at as "seenAt",
       exists (select from ${quote(schema)}.map m where m.view = v.id) or v.shape -> 'sources' = '[]' as watched
     from ${quote(schema)}.view v join ${quote(schema)}.read_model r on r.name = v.name
     left join ${quote(schema)}.view_store t on t.view = v.id order by v.name, v.version`,
    [],
    { prepare: true },
  )
  return rows
}

/** What this process has to do with a view that it defines. */
export type Registration =
  /** The version is there: run it, finish its installation if `installing`. */
  | { readonly kind: 'known'; readonly id: number; readonly state: VersionState; readonly modeChanged: boolean }
  | { readonly kind: 'new'; readonly id: number; readonly version: number; readonly replaced: readonly number[] }
  /** A newer version is live or being built: this process's definition is the past. `id`: while its version is still there. */
  | { readonly kind: 'older'; readonly id: number | undefined; readonly version: number; readonly newer: Newer }

interface Newer {
  readonly version: number
  readonly active: boolean
}

/**
 * Finds or makes the version of a view that belongs to this definition. Versions are ordered by when their definition was first seen, which outlives
 * them, so that an old process that comes back never builds backwards. Processes that start together take turns.
 */
export async function register(runtime: ViewRuntime, view: MaterializedView, analysis: Analysis): Promise<Registration> {
  const { schema } = runtime
  const name = view.readModelName
  return await runtime.database.transaction(async (transaction) => {
    await transaction.query('select pg_advisory_xact_lock($1::int, 2)', [lockClass(schema) + 2])
    await transaction.query(
      `insert into ${quote(schema)}.read_model (name) values ($1) on conflict (name) do update set seen_at = pg_catalog.clock_timestamp()`,
      [name],
    )
    const versions = (await readVersions(transaction, schema)).filter((version) => version.name === name)
    const wanted = fingerprintOf(view['~view'], analysis)
    const definitions = await readDefinitions(transaction, schema, name)
    const known = versions.findLast(({ fingerprint, watched }) => watched && fingerprint === wanted)
    const newer = newerThan(wanted, versions, definitions)
    if (newer) return { kind: 'older', id: known?.id, version: definitions.get(wanted)?.version ?? known?.version ?? 0, newer }
    if (!known) return await create(transaction, schema, view, analysis, versions, definitions)
    const modeChanged = known.mode !== view['~view'].update
    const shape = shapeOf(view['~view'], analysis)
    await transaction.query(`update ${quote(schema)}.view set mode = $2, shape = $3::jsonb where id = $1`, [
      known.id,
      view['~view'].update,
      shape,
    ])
    return { kind: 'known', id: known.id, state: known.state, modeChanged }
  })
}

async function create(
  transaction: Transaction,
  schema: string,
  view: MaterializedView,
  analysis: Analysis,
  versions: readonly ViewVersion[],
  definitions: ReadonlyMap<string, SeenDefinition>,
): Promise<Registration> {
  const definition = view['~view']
  const version = Math.max(0, ...[...versions, ...definitions.values()].map((seen) => seen.version)) + 1
  const table = `${view.readModelName}_v${version}`
  const store = definition.store?.description ?? null
  const sql = store === null ? viewSql(schema, table, analysis) : storeSql(schema, analysis)
  if (store === null) await transaction.query(sql.createTable)
  const { rows } = await transaction.query<{ id: number }>(
    `insert into ${quote(schema)}.view (name, version, fingerprint, mode, state, table_name, shape, echo, select_sql, refresh_sql, enqueue_sql, difference_sql, range_sql, store)
     values ($1, $2, $3, $4, 'installing', $5, $6::jsonb, $7, $8, $9, $10, $11, $12, $13) returning id`,
    [
      view.readModelName,
      version,
      fingerprintOf(definition, analysis),
      definition.update,
      table,
      shapeOf(definition, analysis),
      analysis.sources.some(({ map }) => map.kind !== 'key'),
      analysis.select,
      sql.refresh,
      sql.enqueue,
      sql.difference,
      sql.range,
      store,
    ],
  )
  const id = rows[0]?.id ?? 0
  await rememberDefinition(transaction, schema, { name: view.readModelName, fingerprint: fingerprintOf(definition, analysis), version })
  if (store !== null) await transaction.query(`insert into ${quote(schema)}.view_store (view) values ($1)`, [id])
  for (const text of sql.functions(id)) await transaction.query(text)
  await writeMaps(transaction, schema, id, analysis, sql.expand)
  // Versions that never came to serve make way: their successor is here.
  const replaced = versions
    .filter(({ active, state }) => !active && (state === 'installing' || state === 'building' || state === 'stopped'))
    .map((old) => old.id)
  return { kind: 'new', id, version, replaced }
}

/** In another store the rows hold the texts by which indexes order them, so that other indexes are another version; in a table they are not. */
function fingerprintOf({ store, indexes }: ViewDefinition, { fingerprint }: Analysis): string {
  if (!store) return fingerprint
  return createHash('sha256')
    .update(JSON.stringify([fingerprint, store.description, Object.entries(indexes), sortFormat]))
    .digest('hex')
}

async function writeMaps(
  transaction: Transaction,
  schema: string,
  id: number,
  analysis: Analysis,
  expand: readonly (string | null)[],
): Promise<void> {
  let number = 0
  for (const [i, source] of analysis.sources.entries()) {
    await transaction.query(
      `insert into ${quote(schema)}.source (relation, name, leaves, primary_key) values ($1::oid, $2, $3::oid[], $4::text[])
       on conflict (relation) do update set name = excluded.name, leaves = excluded.leaves, primary_key = excluded.primary_key`,
      [source.oid, source.table, source.leaves, source.primaryKey],
    )
    const { map } = source
    const columns = map.kind === 'key' ? map.columns : map.kind === 'sql' ? map.params.map(({ column }) => column) : []
    await transaction.query(
      `insert into ${quote(schema)}.map (view, source, number, columns, reads, expand_sql) values ($1, $2::oid, $3, $4::text[], $5::text[], $6)`,
      [
        id,
        source.oid,
        map.kind === 'sql' ? ++number : map.kind === 'key' ? 0 : -1,
        columns,
        source.reads === '*' ? null : source.reads,
        expand[i],
      ],
    )
  }
}

function shapeOf(definition: ViewDefinition, analysis: Analysis): VersionShape {
  return {
    columns: analysis.columns.map(({ name, type, collatable }) => ({ name, type, collatable })),
    key: definition.key,
    indexes: definition.indexes,
    sources: analysis.sources.map(({ oid, table }) => ({ oid, table })),
    advice: analysis.advice,
  }
}

/** The tables that a view's versions read, as oids. */
export async function sourcesOf(client: SqlClient, schema: string, views: readonly number[]): Promise<readonly number[]> {
  const { rows } = await client.query<{ source: number }>(
    `select distinct source::int8 as source from ${quote(schema)}.map where view = any ($1::int[]) order by 1`,
    [views],
  )
  return rows.map(({ source }) => source)
}

/** Takes versions out of the database: rows, marks, table. The triggers of `sourcesOf` them must be installed anew afterwards. */
export async function dropVersions(client: SqlClient, schema: string, views: readonly number[]): Promise<void> {
  const { rows } = await client.query<{ id: number; table_name: string }>(
    `delete from ${quote(schema)}.view where id = any ($1::int[]) returning id, table_name`,
    [views],
  )
  await client.query(`delete from ${quote(schema)}.mark where view = any ($1::int[])`, [views])
  for (const { id, table_name } of rows) {
    await client.query(`drop function if exists ${functionNames(schema, id).join(', ')}`)
    await client.query(`drop table if exists ${quote(schema)}.${quote(table_name)}`)
  }
}

/** What somebody saw of a version, by which an error may come late: a build that was begun anew since is not the one that failed. */
export type SeenBuild = Pick<ViewVersion, 'buildStartedAt'>

/**
 * An error that needs a person: the view stops, says so, and everything else goes on. Its marks are kept. `build`: only while that build is under way,
 * so that a verdict which comes late does not stop what was switched to or begun anew meanwhile.
 */
export async function stopVersion(runtime: ViewRuntime, id: number, name: string, reason: string, build?: SeenBuild): Promise<void> {
  const { rows } = await runtime.database.query(
    `update ${quote(runtime.schema)}.view set state = 'stopped', error = $2
     where id = $1 and state <> 'stopped' and (not $3 or state = 'building' and build_started_at is not distinct from $4::timestamptz) returning id`,
    [id, reason, build !== undefined, build?.buildStartedAt ?? null],
  )
  if (rows.length > 0) runtime.log('error', `read model ${name} stopped`, { reason })
}
