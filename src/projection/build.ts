import { quote } from '../database/identifier.ts'
import { lockClass } from '../database/migrate.ts'
import { DatabaseError } from '../errors.ts'
import { publicSelect } from './member-types.ts'
import type { OwnProjection } from './own-projection.ts'
import { type ProjectionRuntime, type ProjectionVersion, readProjections, stopProjection, storedModel } from './registry.ts'
import { verify } from './verify.ts'
import { versionDifferences } from './version-differences.ts'

const sampleSize = 200
/** For so long, and looking so often, a build waits for other ranges, which others may fold, to get where its first range is. */
const othersMs = 2000
const lookMs = 20

/** Notes when the build of a version begins and how much there is to fold; nothing if that was noted. */
export async function beginBuild(runtime: ProjectionRuntime, id: number): Promise<void> {
  const { position } = await runtime.eventLog.head()
  await runtime.database.query(
    `update ${quote(runtime.schema)}.projection set build_started_at = clock_timestamp(), build_total = $2 where id = $1 and build_started_at is null`,
    [id, position],
  )
}

/** A version whose rows are gone, or are not to be trusted any more: queries answer that it is being built until it is again. */
export async function beginAgain(runtime: ProjectionRuntime, version: ProjectionVersion): Promise<void> {
  const { rowCount } = await runtime.database.query(
    `update ${quote(runtime.schema)}.projection set state = 'building', built_at = null, build_started_at = null
     where id = $1 and state <> 'paused' and built_at is not null`,
    [version.id],
  )
  if (rowCount === 0) return
  runtime.log('warn', `${version.name}: its rows are gone from ${version.store ?? 'the database'}; folding everything again`)
}

/**
 * Finishes the build of a version that has reached the head: adds its indexes, verifies a sample against a fold of its own, and switches to it.
 * Whether it is live now; false: try again when it has caught up.
 */
export async function finishBuild(runtime: ProjectionRuntime, own: OwnProjection, signal: AbortSignal): Promise<boolean> {
  const { log } = runtime
  const { version, store, model } = own
  const { position: head } = await runtime.eventLog.head()
  await store.index?.(model)
  if (!(await reached(runtime, own, head, signal))) return false
  const { differences } = await verify(runtime, own, { sample: sampleSize })
  const [first] = differences
  if (first) {
    const reason = `version ${version.version} did not verify: ${differences.length} keys differ from their fold, such as ${first.key} (${first.kind})`
    await stopProjection(runtime, version, 'not_verified', reason)
    return false
  }
  await showDifferences(runtime, own)
  const live = await switchTo(runtime, version)
  if (live) log('info', `${version.name}: version ${version.version} is live`)
  return live
}

/** Whether all ranges get beyond a position in good time. While there are new events all the time they are never all at the head. */
async function reached(
  { clock }: ProjectionRuntime,
  { store, model }: OwnProjection,
  position: number,
  signal: AbortSignal,
): Promise<boolean> {
  for (const until = clock.now() + othersMs; ; await clock.sleep(lookMs, signal)) {
    const { checkpoint } = await store.load(model, [])
    if (checkpoint && checkpoint.position >= position) return true
    if (signal.aborted || clock.now() >= until) return false
  }
}

/** What queries will answer otherwise, for a person to look at. */
async function showDifferences(runtime: ProjectionRuntime, own: OwnProjection): Promise<void> {
  const versions = await readProjections(runtime.database, runtime.schema)
  const old = versions.find(({ name, active }) => active && name === own.version.name)
  if (!old || old.id === own.version.id || old.store !== null) return
  const { examples, ...counts } = await versionDifferences({ store: runtime.store, model: storedModel(runtime.schema, old) }, own)
  runtime.log('info', `${own.version.name}: version ${own.version.version} beside version ${old.version}`, {
    ...counts,
    example: examples[0],
  })
}

/**
 * Makes a version the one that queries read, unless it lacks something that the one before it has: checkpoints are compared in the transaction
 * that switches, with the old one held where it stands. False: it is behind, or somebody else switched.
 */
export async function switchTo(runtime: ProjectionRuntime, version: ProjectionVersion): Promise<boolean> {
  const { database, schema } = runtime
  const s = quote(schema)
  try {
    return await database.transaction(async (transaction) => {
      await transaction.query(`set local lock_timeout = '2s'`)
      await transaction.query('select pg_advisory_xact_lock($1::int, 3)', [lockClass(schema) + 2])
      // The name before the version, as registering does. Whoever stops or pauses the version does so before this, and is seen, or after, and is not
      // undone.
      await transaction.query(`select from ${s}.read_model where name = $1 for no key update`, [version.name])
      await transaction.query(`select from ${s}.projection where id = $1 for no key update`, [version.id])
      const versions = (await readProjections(transaction, schema)).filter(({ name }) => name === version.name)
      const next = versions.find(({ id }) => id === version.id)
      const old = versions.find(({ active }) => active)
      if (!next || next.active || (next.state !== 'building' && next.state !== 'previous'))
        return next?.active === true && (await settled(transaction, s, schema, next))
      // The public name is locked against its readers first: a checkpoint is held for as short as can be, since appends may wait for it.
      await publish(transaction, s, schema, next)
      if (old && (await behind(transaction, s, next.id, old.id))) throw new Behind()
      await transaction.query(
        `update ${s}.projection set state = 'previous', retired_at = clock_timestamp() where name = $1 and id <> $2 and state = 'live'`,
        [next.name, next.id],
      )
      await transaction.query(`update ${s}.projection set retired_at = clock_timestamp() where id = $1 and retired_at is null`, [
        old?.id ?? 0,
      ])
      await transaction.query(
        `update ${s}.projection set state = 'live', retired_at = null, error = null, error_code = null, built_at = coalesce(built_at, clock_timestamp()) where id = $1`,
        [next.id],
      )
      await transaction.query(`update ${s}.read_model set active = $2 where name = $1`, [next.name, next.id])
      return true
    })
  } catch (error) {
    if (error instanceof Behind) return false
    if (error instanceof DatabaseError && (error.sqlState === '55P03' || error.sqlState === '40P01')) return false
    throw error
  }
}

/** Rolls the switch back. */
class Behind extends Error {}

type Client = Parameters<Parameters<ProjectionRuntime['database']['transaction']>[0]>[0]

/** A version that is the one queries read, and was only built anew. */
async function settled(transaction: Client, s: string, schema: string, version: ProjectionVersion): Promise<boolean> {
  if (version.state === 'building') {
    // Its public name went with its table, if that was gone.
    await publish(transaction, s, schema, version)
    await transaction.query(
      `update ${s}.projection set state = 'live', built_at = clock_timestamp(), error = null, error_code = null where id = $1`,
      [version.id],
    )
  }
  return true
}

/** Readers of the table itself; a store elsewhere has no public name here. */
async function publish(transaction: Client, s: string, schema: string, { name, table, store, shape }: ProjectionVersion): Promise<void> {
  if (store === null) await transaction.query(`select ${s}.publish_as($1, $2)`, [name, publicSelect(schema, table, shape.members)])
  else await transaction.query(`drop view if exists ${s}.${quote(name)}`)
}

async function behind(transaction: Client, s: string, next: number, old: number): Promise<boolean> {
  const { rows } = await transaction.query<{ id: number; lowest: number }>(
    `with held as (select projection, position from ${s}.checkpoint where projection in ($1, $2) order by projection, first for update)
     select projection as id, min(position) as lowest from held group by 1`,
    [next, old],
  )
  const at = (id: number) => rows.find((row) => row.id === id)?.lowest ?? 0
  return at(next) < at(old)
}
