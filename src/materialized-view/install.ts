import { installCapture } from '../change/capture.ts'
import { quote } from '../database/identifier.ts'
import { DatabaseError, DefinitionError } from '../errors.ts'
import { retry } from '../internal/retry.ts'
import type { Store } from '../read-model/store.ts'
import { checkIndexes, isOrdered, type StoredTable, typeOf } from '../read-model/stored-table.ts'
import { analyse } from './analysis/select-analysis.ts'
import { ensureIndexes } from './build.ts'
import { isKeyType, isOrderedType } from './column-value.ts'
import type { MaterializedView } from './materialized-view.ts'
import { dropVersions, type Registration, readVersions, register, sourcesOf, type ViewRuntime, type ViewVersion } from './registry.ts'
import { checkRowNames } from './row-schema.ts'
import { storedView } from './stored-view.ts'

/**
 * Checks a view's definition against the database and puts it to work: finds or makes its version, makes the triggers of its sources write
 * marks for it, and enqueues every key once. Safe to run again after a crash at any step, and by several processes at once. Returns the id of the
 * version that this definition is of; undefined where that was dropped and a newer one is in its place.
 * @throws {DefinitionError} naming the view, the place and the reason
 */
export async function install(runtime: ViewRuntime, view: MaterializedView): Promise<number | undefined> {
  // Other processes install, switch and write meanwhile; whoever PostgreSQL chose to break a deadlock begins again.
  return await retry(() => installOnce(runtime, view), {
    clock: runtime.clock,
    attempts: 10,
    baseMs: 20,
    maxMs: 1000,
    when: (error) => error instanceof DatabaseError && ['40P01', '40001'].includes(error.sqlState),
  })
}

async function installOnce(runtime: ViewRuntime, view: MaterializedView): Promise<number | undefined> {
  const { database, schema, log } = runtime
  const name = view.readModelName
  const analysis = await database.transaction((transaction) => analyse(transaction, { name, schema, definition: view['~view'] }))
  checkRowNames(name, view['~view'].row, analysis.columns)
  const table = { schema, table: name, columns: analysis.columns, key: view['~view'].key, indexes: view['~view'].indexes, view: 0 }
  checkIndexes(table)
  if (view['~view'].store) checkStorable(table, view['~view'].store)
  for (const line of analysis.advice) log('warn', `${name}: ${line}`)
  const registration = await register(runtime, view, analysis)
  if (registration.kind === 'older') {
    sayOlder(runtime, name, registration)
    return registration.id
  }
  if (registration.kind === 'new') {
    log('info', `${name}: building version ${registration.version}`)
    await removeVersions(runtime, registration.replaced)
  }
  if (registration.kind === 'known' && registration.state === 'live') await declareIndexes(runtime, registration.id)
  const unfinished = registration.kind === 'new' || registration.state === 'installing'
  if (!unfinished && !registration.modeChanged) return registration.id
  for (const source of await sourcesOf(database, schema, [registration.id])) await installCapture(runtime, source)
  if (unfinished) await beginBuild(runtime, registration.id)
  return registration.id
}

/** How to go back all the same depends on whether the version is still there. */
function sayOlder({ log }: ViewRuntime, name: string, { id, version, newer }: Registration & { readonly kind: 'older' }): void {
  const goesOn = newer.active ? 'is live and goes on serving' : 'is being built'
  const toGoBack =
    id !== undefined && newer.active
      ? `readModel('${name}').rollback()`
      : `version ${version} is not kept any more: change its SELECT in something, such as an alias or "where true", and it is built as a new version`
  log('warn', `${name}: this process defines version ${version}, but version ${newer.version} ${goesOn}`, { toGoBack })
}

/**
 * Refuses what only a table can do.
 * @throws {DefinitionError} an index over contents, or over what only PostgreSQL can order; a key whose equal values have several texts
 */
function checkStorable(table: StoredTable, { description }: Store): void {
  const search = Object.keys(table.indexes).find((index) => !isOrdered(table, index))
  if (search !== undefined) {
    throw new DefinitionError(
      `${table.table}: index ${JSON.stringify(search)} searches contents, which ${description} does not: leave "store" out`,
    )
  }
  for (const [index, columns] of Object.entries(table.indexes)) {
    const column = columns.find((name) => !isOrderedType(typeOf(table, name)))
    if (column === undefined) continue
    throw new DefinitionError(
      `${table.table}: index ${JSON.stringify(index)}: the column ${JSON.stringify(column)} is ${typeOf(table, column)}, by which ${description} cannot order rows; cast it to text or a number in the SELECT`,
    )
  }
  const odd = table.key.find((column) => !isKeyType(typeOf(table, column)))
  if (odd === undefined) return
  throw new DefinitionError(
    `${table.table}: the key column ${JSON.stringify(odd)} is ${typeOf(table, odd)}, by which ${description} cannot tell rows apart; select it as text`,
  )
}

/** Indexes may be declared anew without building anything. */
async function declareIndexes(runtime: ViewRuntime, id: number): Promise<void> {
  const version = (await readVersions(runtime.database, runtime.schema)).find((known) => known.id === id)
  if (version && version.store === null) await ensureIndexes(runtime, version)
}

/** Enqueues every key and lets workers at them, in one step. */
export async function beginBuild(runtime: ViewRuntime, id: number): Promise<void> {
  const { database, schema } = runtime
  await database.transaction(async (transaction) => {
    const { rows } = await transaction.query(`select from ${quote(schema)}.view where id = $1 and state = 'installing' for update`, [id])
    if (rows.length === 0) return
    await transaction.query(`select ${quote(schema)}.enqueue($1)`, [id])
    await transaction.query(`update ${quote(schema)}.view set state = 'building' where id = $1`, [id])
  })
}

/** Drops versions and stops watching tables for them. */
export async function removeVersions(runtime: ViewRuntime, views: readonly number[]): Promise<void> {
  if (views.length === 0) return
  const { database, schema } = runtime
  const sources = await sourcesOf(database, schema, views)
  const elsewhere = (await readVersions(database, schema)).filter(({ id }) => views.includes(id))
  await database.transaction((transaction) => dropVersions(transaction, schema, views))
  for (const source of sources) await installCapture(runtime, source)
  for (const version of elsewhere) await dropStored(runtime, version)
}

/** Rows in another store go last: whoever still writes them finds that it lost. Nothing to do for a version in a table. */
export async function dropStored(runtime: ViewRuntime, version: ViewVersion): Promise<void> {
  if (version.store === null) return
  const view = storedView(runtime, version)
  try {
    if (!view) throw new Error('no read model of this process is in that store')
    await view.store.drop(view.model)
  } catch (error) {
    const { name, store } = version
    const reason = error instanceof Error ? error.message : String(error)
    runtime.log('warn', `${name}: the rows of version ${version.version} are left behind in ${store}: ${reason}`)
  }
}

/** Names that tables of Headwater's own bear. */
const taken = new Set([
  ...[
    'generation',
    'command',
    'read_model',
    'view',
    'map',
    'source',
    'mark',
    'parked',
    'complaint',
    'due',
    'migration',
    'view_store',
    'view_batch',
    'view_definition',
    'view_worker',
  ],
  ...[
    'event',
    'fence',
    'staged',
    'snapshot',
    'projection',
    'checkpoint',
    'parked_key',
    'skipped_event',
    'key_request',
    'projector',
    'reaction',
    'reaction_task',
  ],
])

/** Refuses read models whose names tables of Headwater's own bear. */
export function checkDefinitions(names: readonly string[]): void {
  const found = names.find((name) => taken.has(name))
  if (found !== undefined) throw new DefinitionError(`read model ${found}: a table of Headwater's own bears that name; choose another`)
}
