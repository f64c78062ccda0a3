import { quote } from '../database/identifier.ts'
import type { OwnProjection } from './own-projection.ts'
import type { ProjectionRuntime } from './registry.ts'

/** Forgets the rows of a version, so that it is folded from the beginning; nobody is served from it until it is complete. */
export async function reset(runtime: ProjectionRuntime, { version, store, model, skipped }: OwnProjection): Promise<void> {
  const { database, schema } = runtime
  const s = quote(schema)
  await database.transaction(async (transaction) => {
    await transaction.query(`update ${s}.projection set state = 'paused' where id = $1`, [version.id])
    // The checkpoint first: an owner that is still at work finds another one and writes nothing.
    await transaction.query(
      `update ${s}.checkpoint set position = 0, event_id = null, owner = null, lease_until = null where projection = $1`,
      [version.id],
    )
    await transaction.query(`delete from ${s}.parked_key where projection = $1`, [version.id])
    await transaction.query(`delete from ${s}.skipped_event where projection = $1`, [version.id])
    if (version.store === null) await transaction.query(`delete from ${s}.${quote(version.table)}`)
  })
  skipped.clear()
  if (version.store !== null) await store.drop(model)
  await database.query(
    `update ${s}.projection set state = 'building', built_at = null, build_started_at = null, error = null, error_code = null where id = $1`,
    [version.id],
  )
}
