import { quote } from '../database/identifier.ts'
import type { OwnProjection } from './own-projection.ts'
import { dropProjection, type ProjectionRuntime, readProjections } from './registry.ts'

/** Drops versions whose rollback window is over, and answers to requests that everybody has seen. Versions in other stores wait for a process that knows the store. */
export async function retireProjections(runtime: ProjectionRuntime, own: readonly OwnProjection[], windowMs: number): Promise<void> {
  const { database, schema, log } = runtime
  const { rows } = await database.query<{ id: number }>(
    `select p.id from ${quote(schema)}.projection p join ${quote(schema)}.read_model r on r.name = p.name
     where p.retired_at < clock_timestamp() - make_interval(secs => $1) and r.active is distinct from p.id`,
    [windowMs / 1000],
  )
  for (const { id } of rows) {
    const known = own.find(({ version }) => version.id === id)
    const found = known?.version ?? (await versionOf(runtime, id))
    if (!found) continue
    const store = known?.store ?? (found.store === null ? runtime.store : own.find(({ version }) => version.name === found.name)?.store)
    if (!store) continue
    await dropProjection(runtime, found, store)
    log('info', `${found.name}: version ${found.version} is dropped, its rollback window is over`)
  }
  await database.query(
    `delete from ${quote(schema)}.key_request where id in (
       select k.id from ${quote(schema)}.key_request k where k.done_at < clock_timestamp() - interval '1 hour' for update skip locked)`,
  )
}

async function versionOf(runtime: ProjectionRuntime, id: number) {
  return (await readProjections(runtime.database, runtime.schema)).find((version) => version.id === id)
}
