import { installCapture } from '../change/capture.ts'
import { quote } from '../database/identifier.ts'
import { removeVersions } from './install.ts'
import { sourcesOf, stopVersion, type ViewRuntime } from './registry.ts'

/** Drops previous versions whose rollback window is over. */
export async function retireVersions(runtime: ViewRuntime, windowMs: number): Promise<void> {
  const { database, schema, log } = runtime
  const { rows } = await database.query<{ id: number; name: string; version: number }>(
    `select id, name, version from ${quote(schema)}.view where state = 'previous' and retired_at < clock_timestamp() - make_interval(secs => $1)`,
    [windowMs / 1000],
  )
  if (rows.length === 0) return
  await removeVersions(
    runtime,
    rows.map(({ id }) => id),
  )
  for (const { name, version } of rows) log('info', `${name}: version ${version} is dropped, its rollback window is over`)
}

/** A stopped view selects every key again when it is resumed, so that what its tables went on marking need not be kept. */
export async function dropIdleMarks(runtime: ViewRuntime): Promise<void> {
  const schema = quote(runtime.schema)
  await runtime.database.query(`delete from ${schema}.mark m using ${schema}.view v where v.state = 'stopped' and m.view = v.id`)
}

/** A read model that no process has defined for a day: writers stop paying for it. Its table stays until `drop`. */
export async function retireOrphans(runtime: ViewRuntime, defined: readonly string[]): Promise<void> {
  const { database, log } = runtime
  const schema = quote(runtime.schema)
  const { rows } = await database.query<{ id: number; name: string }>(
    `select v.id, v.name from ${schema}.view v join ${schema}.read_model r on r.name = v.name
     where r.seen_at < clock_timestamp() - interval '1 day' and v.name <> all ($1::text[]) and exists (select from ${schema}.map m where m.view = v.id)`,
    [defined],
  )
  for (const { id, name } of rows) {
    await stopVersion(runtime, id, name, 'no process has defined it for a day; its tables are not watched for it any more')
    const sources = await sourcesOf(database, runtime.schema, [id])
    await database.query(`delete from ${schema}.map where view = $1`, [id])
    for (const source of sources) await installCapture(runtime, source)
    log('warn', `${name}: its tables are not watched for it any more; drop('${name}') removes its rows`)
  }
}
