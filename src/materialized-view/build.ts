import { createHash } from 'node:crypto'
import type { Transaction } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { lockClass } from '../database/migrate.ts'
import { DatabaseError } from '../errors.ts'
import type { Schema } from '../message/schema.ts'
import { preferDefinition } from './definition-order.ts'
import { type SeenBuild, stopVersion, type ViewRuntime, type ViewVersion } from './registry.ts'
import { firstRowFault } from './row-schema.ts'
import type { RowDifference } from './store-verify.ts'
import { verify } from './verify.ts'

/**
 * Finishes the build of a version whose keys have all been selected once: adds its indexes, verifies a sample, and switches to it. Any
 * number of processes that define it may try; one does it. `row` is the definition's, undefined where this process has another one. Returns whether the
 * version is live now.
 */
export async function finishBuild(runtime: ViewRuntime, version: ViewVersion, row: Schema | undefined): Promise<boolean> {
  const { database, schema, log } = runtime
  const { rows } = await database.query<SeenBuild & { left: boolean }>(
    `select v.build_started_at as "buildStartedAt", exists (select from ${quote(schema)}.mark m where m.view = $1 and m.lane = 2)
       or exists (select from ${quote(schema)}.view_store t where t.view = $1 and t.filling) as left
     from ${quote(schema)}.view v where v.id = $1 and v.state = 'building'`,
    [version.id],
  )
  const [build] = rows
  if (build?.left !== false) return false
  if (version.store === null && !(await indexesOfBuild(runtime, version, build))) return false
  const differences = await lastingDifferences(runtime, version)
  if (differences.length > 0) {
    const [first] = differences
    await stopVersion(
      runtime,
      version.id,
      version.name,
      `version ${version.version} did not verify: ${differences.length} of 1000 keys differ, such as ${first?.key} (${first?.kind})`,
      build,
    )
    return false
  }
  const fault = row && (await firstRowFault(runtime, version, row))
  if (fault) {
    await stopVersion(runtime, version.id, version.name, `${fault}; correct "row" or the SELECT`, build)
    return false
  }
  const live = await switchSoon(runtime, version)
  if (live) log('info', `${version.name}: version ${version.version} is live`)
  return live
}

/**
 * Rows that no index takes are found when the indexes come after them; which ones they are only an insert tells. So the table is filled once more with
 * its indexes in place, and their keys are parked. False: not finished.
 */
async function indexesOfBuild(runtime: ViewRuntime, version: ViewVersion, build: SeenBuild): Promise<boolean> {
  const { database, schema, log } = runtime
  try {
    await ensureIndexes(runtime, version)
    return true
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.sqlState !== '54000') throw error
    if (version.builtAt !== null) {
      await stopVersion(runtime, version.id, version.name, `a value is too long for a declared index: ${error.message}`, build)
      return false
    }
    log('warn', `${version.name}: a value is too long for an index; filling version ${version.version} once more, to park its keys`, {
      reason: error.message,
    })
  }
  await database.transaction(async (transaction) => {
    await transaction.query(`set local lock_timeout = '2s'`)
    await transaction.query(`truncate ${quote(schema)}.${quote(version.table)}`)
    await createIndexes(transaction, schema, version)
    await transaction.query(`select ${quote(schema)}.enqueue($1)`, [version.id])
  })
  return false
}

/** A table is drained while it is switched to; what is in another store may lack something of the moment, and has it the next. */
async function switchSoon(runtime: ViewRuntime, { id, store }: ViewVersion): Promise<boolean> {
  for (let tries = store === null ? 1 : 20; ; tries--) {
    if (await switchTo(runtime, id, { built: true })) return true
    if (tries <= 1) return false
    await runtime.clock.sleep(10 + Math.random() * 20)
  }
}

/** What a sample shows twice: stopping a build needs a person, so what is over in a moment must not do it. */
async function lastingDifferences(runtime: ViewRuntime, version: ViewVersion): Promise<readonly RowDifference[]> {
  const { differences } = await verify(runtime, version, { sample: 1000 })
  if (differences.length === 0) return differences
  runtime.log('warn', `${version.name}: ${differences.length} of 1000 rows differ from their SELECT; looking again`, {
    keys: differences.slice(0, 5).map(({ key, kind }) => `${key} ${kind}`),
  })
  await runtime.clock.sleep(500)
  return (await verify(runtime, version, { keys: differences.map(({ key }) => key) })).differences
}

/**
 * Makes a version the one that queries read. False when another process did, or when it lacks something: try again. `built`: only as the end of
 * its build, so that a process which was late with that does not undo a rollback.
 */
export async function switchTo(runtime: ViewRuntime, id: number, { built = false }: { readonly built?: boolean } = {}): Promise<boolean> {
  const { database, schema } = runtime
  try {
    return await database.transaction(async (transaction) => {
      await transaction.query(`set local lock_timeout = '2s'`)
      await transaction.query('select pg_advisory_xact_lock($1::int, 3)', [lockClass(schema) + 2])
      const { rows: still } = await transaction.query(
        `select from ${quote(schema)}.view v join ${quote(schema)}.read_model r on r.name = v.name
         where v.id = $1 and (v.state = 'building' or not $2 and v.state = 'previous' and r.active is distinct from $1)`,
        [id, built],
      )
      if (still.length === 0) return false
      const { rows } = await transaction.query<{ switch: boolean }>(`select ${quote(schema)}.switch($1) as switch`, [id])
      if (rows[0]?.switch !== true) return false
      // Else processes with the definition that was gone back from would build it again once its version is dropped.
      if (!built) await preferDefinition(transaction, schema, id)
      return true
    })
  } catch (error) {
    if (error instanceof DatabaseError && (error.sqlState === '55P03' || error.sqlState === '40P01')) return false
    throw error
  }
}

/** The name of an index says which columns it holds, so that a changed declaration makes another one. */
function indexName(version: ViewVersion, columns: readonly string[]): string {
  const whole = `${version.table}_${columns.join('_')}`
  // PostgreSQL would cut it at 63 bytes without a word, and two long ones could become the same.
  return whole.length <= 63 ? whole : `${whole.slice(0, 54)}_${createHash('sha256').update(whole).digest('hex').slice(0, 8)}`
}

/** An ordered index for `find`; for a column whose contents are searched, such as the words of a text, one that finds what is in it. */
function indexParts(version: ViewVersion, list: readonly string[]): string {
  const columns = new Map(version.shape.columns.map((column) => [column.name, column]))
  const [first = ''] = list
  if (/^(tsvector|jsonb)$|\[\]$/.test(columns.get(first)?.type ?? '')) return `using gin (${quote(first)})`
  const parts = list.map((column) => `${quote(column)}${columns.get(column)?.collatable ? ' collate "C"' : ''} nulls first`)
  return `(${parts.join(', ')})`
}

/** Creates the declared indexes that are not there yet, and drops those that are not declared any more. */
export async function ensureIndexes(runtime: ViewRuntime, version: ViewVersion): Promise<void> {
  const { database, schema } = runtime
  const changed = await database.transaction((transaction) => createIndexes(transaction, schema, version))
  if (changed || version.state === 'building') await database.query(`analyze ${quote(schema)}.${quote(version.table)}`)
}

/** Whether there is one more than before. */
async function createIndexes(transaction: Transaction, schema: string, version: ViewVersion): Promise<boolean> {
  const { columns, key, indexes } = version.shape
  const collatable = new Set(columns.filter((column) => column.collatable).map(({ name }) => name))
  const declared = Object.values(indexes).map((index) => [...index, ...key.filter((column) => !index.includes(column))])
  const wanted = new Map(
    [...declared, ...(key.some((column) => collatable.has(column)) ? [[...key]] : [])].map((list) => [indexName(version, list), list]),
  )
  await transaction.query('select pg_advisory_xact_lock($1::int, 4)', [lockClass(schema) + 2])
  const { rows } = await transaction.query<{ name: string }>(
    `select c.relname as name from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
     where i.indrelid = to_regclass($1) and not i.indisprimary`,
    [`${quote(schema)}.${quote(version.table)}`],
  )
  const present = new Set(rows.map(({ name }) => name))
  for (const [name, list] of wanted) {
    if (present.has(name)) continue
    await transaction.query(`create index ${quote(name)} on ${quote(schema)}.${quote(version.table)} ${indexParts(version, list)}`)
  }
  for (const name of present) if (!wanted.has(name)) await transaction.query(`drop index ${quote(schema)}.${quote(name)}`)
  return [...wanted.keys()].some((name) => !present.has(name))
}
