import type { SqlClient } from '../database/database.ts'
import { quote } from '../database/identifier.ts'

/** What is remembered of a definition of a view, whether its version is still there or not. */
export interface SeenDefinition {
  /** The last version that was made of it. */
  readonly version: number
  /** Where it stands among the definitions of its view: later is newer. */
  readonly place: number
}

/** So many definitions of one view are remembered. */
const rememberedMax = 100

/** By fingerprint. */
export async function readDefinitions(client: SqlClient, schema: string, name: string): Promise<ReadonlyMap<string, SeenDefinition>> {
  const { rows } = await client.query<SeenDefinition & { fingerprint: string }>(
    `select fingerprint, version, place from ${quote(schema)}.view_definition where name = $1`,
    [name],
  )
  return new Map(rows.map((row) => [row.fingerprint, row]))
}

interface Candidate {
  readonly fingerprint: string
  readonly version: number
  readonly state: string
  readonly active: boolean
}

/** The version of a later definition that is live, or on its way there. One that stopped before it ever was keeps nobody from building. */
export function newerThan<V extends Candidate>(
  fingerprint: string,
  versions: readonly V[],
  definitions: ReadonlyMap<string, SeenDefinition>,
): V | undefined {
  const own = definitions.get(fingerprint)?.place
  if (own === undefined) return undefined
  const newer = versions.filter(
    (version) =>
      version.fingerprint !== fingerprint &&
      (version.active || version.state === 'installing' || version.state === 'building') &&
      (definitions.get(version.fingerprint)?.place ?? version.version) > own,
  )
  return newer.find(({ active }) => active) ?? newer.at(-1)
}

/** A version was made of a definition, which is the newest from now on. */
export async function rememberDefinition(
  client: SqlClient,
  schema: string,
  { name, fingerprint, version }: { readonly name: string; readonly fingerprint: string; readonly version: number },
): Promise<void> {
  const table = `${quote(schema)}.view_definition`
  await client.query(
    `insert into ${table} (name, fingerprint, version, place) values ($1, $2, $3, ${nextPlace(table)})
     on conflict (name, fingerprint) do update set version = excluded.version, place = excluded.place`,
    [name, fingerprint, version],
  )
  await client.query(
    `delete from ${table} d where d.name = $1 and d.place <= (select max(e.place) - $2 from ${table} e where e.name = $1)
       and not exists (select from ${quote(schema)}.view v where v.name = d.name and v.fingerprint = d.fingerprint)`,
    [name, rememberedMax],
  )
}

/** Somebody went back to the definition of a version: it is the newest from now on. */
export async function preferDefinition(client: SqlClient, schema: string, view: number): Promise<void> {
  const table = `${quote(schema)}.view_definition`
  await client.query(
    `update ${table} d set place = (select max(e.place) + 1 from ${table} e where e.name = d.name)
     from ${quote(schema)}.view v where v.id = $1 and v.name = d.name and v.fingerprint = d.fingerprint`,
    [view],
  )
}

function nextPlace(table: string): string {
  return `(select coalesce(max(e.place), 0) + 1 from ${table} e where e.name = $1)`
}
