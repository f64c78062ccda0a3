import { quote } from '../database/identifier.ts'
import { UnknownNameError } from '../errors.ts'
import { retry } from '../internal/retry.ts'
import { dropStored, removeVersions } from '../materialized-view/install.ts'
import type { ViewRuntime } from '../materialized-view/registry.ts'
import type { ViewWorker } from '../materialized-view/worker.ts'
import type { EventSide } from './event-side.ts'

/** Drops all versions of a read model that nobody defines any more. @throws {UnknownNameError} */
export async function removeReadModel(runtime: ViewRuntime, worker: ViewWorker, events: EventSide, name: string): Promise<void> {
  await worker.refresh()
  const versions = worker.versions.filter((version) => version.name === name)
  if (versions.length === 0 && !(await events.drop(name))) {
    throw new UnknownNameError('read_model', name, [...new Set(worker.versions.map((version) => version.name))])
  }
  const schema = quote(runtime.schema)
  await runtime.database.query(`drop view if exists ${schema}.${quote(name)}`)
  await removeVersions(
    runtime,
    versions.map(({ id }) => id),
  )
  await runtime.database.query(`delete from ${schema}.read_model where name = $1`, [name])
  await worker.refresh()
}

/** Takes everything of Headwater out of the database, and what its read models keep in other stores. */
export async function removeSchema(runtime: ViewRuntime, worker: ViewWorker, { projections }: EventSide): Promise<void> {
  const { database, schema, clock, log } = runtime
  await worker.refresh()
  await projections.refresh()
  const elsewhere = projections.versions.flatMap((version) => (version.store === null ? [] : [projections.placeOf(version)]))
  await retry(
    () =>
      database.transaction(async (transaction) => {
        await transaction.query(`set local lock_timeout = '2s'`)
        await transaction.query(`drop schema ${quote(schema)} cascade`)
      }),
    { clock, attempts: 10, baseMs: 200, maxMs: 2000, when: () => true },
  )
  for (const version of worker.versions) await dropStored(runtime, version)
  for (const place of elsewhere) {
    await place?.store.drop(place.model).catch((error: unknown) => {
      const { name, version } = place.model
      const reason = error instanceof Error ? error.message : String(error)
      log('warn', `${name}: the rows of version ${version} are left behind in ${place.store.description}: ${reason}`)
    })
  }
}
