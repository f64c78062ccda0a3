import type { SqlClient } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import type { Checkpoint } from '../read-model/store.ts'

/** How long a range stays with an owner that says nothing, by the clock of the write database. */
export const leaseSeconds = 3

/** A range of partitions of a version, and whether somebody works on it. */
export interface LeasedRange {
  readonly projection: number
  readonly first: number
  readonly last: number
  readonly position: number
  readonly owner: string | null
  /** Nobody owns it, or its owner was silent for too long. */
  readonly free: boolean
  /** Nobody took it though everybody could have. */
  readonly abandoned: boolean
}

export async function readRanges(client: SqlClient, schema: string, projections: readonly number[]): Promise<readonly LeasedRange[]> {
  const { rows } = await client.query<LeasedRange>(
    `select projection, first, last, position, owner, owner is null or lease_until < clock_timestamp() as free,
       coalesce(lease_until, '-infinity') < clock_timestamp() - make_interval(secs => ${leaseSeconds}) as abandoned
     from ${quote(schema)}.checkpoint where projection = any ($1::int[]) order by projection, first`,
    [projections],
    { prepare: true },
  )
  return rows
}

/**
 * Takes a range, or keeps it for longer: false when somebody else has it. A lease only decides who tries; what makes a late owner harmless is the
 * store's comparison. One row at a time, so that appends, which lock several, cannot meet it crosswise. `report` is the checkpoint of a version
 * in another store, for those who only look.
 */
export async function takeRange(
  client: SqlClient,
  schema: string,
  range: { readonly projection: number; readonly first: number; readonly last: number },
  owner: string,
  report?: Checkpoint | null,
): Promise<boolean> {
  const { rows } = await client.query(
    `update ${quote(schema)}.checkpoint set owner = $4, lease_until = clock_timestamp() + make_interval(secs => ${leaseSeconds}),
       position = coalesce($5::int8, position), event_id = case when $5::int8 is null then event_id else $6::uuid end
     where projection = $1 and first = $2 and last = $3 and (owner is null or owner = $4 or lease_until < clock_timestamp()) returning 1`,
    [range.projection, range.first, range.last, owner, report?.position ?? null, report?.eventId ?? null],
    { prepare: true },
  )
  return rows.length > 0
}

/** Gives a range back, so that another process takes it at once. */
export async function giveRange(
  client: SqlClient,
  schema: string,
  range: { readonly projection: number; readonly first: number },
  owner: string,
): Promise<void> {
  await client.query(
    `update ${quote(schema)}.checkpoint set owner = null, lease_until = clock_timestamp() where projection = $1 and first = $2 and owner = $3`,
    [range.projection, range.first, owner],
  )
}

/** Says that this process lives, and counts those that do. */
export async function sayAlive(client: SqlClient, schema: string, id: string): Promise<number> {
  const { rows } = await client.query<{ alive: number }>(
    `with dead as (delete from ${quote(schema)}.projector where id in (
       select p.id from ${quote(schema)}.projector p where p.alive_until < clock_timestamp() - interval '1 minute' for update skip locked)),
     own as (insert into ${quote(schema)}.projector as p (id, alive_until) values ($1, clock_timestamp() + make_interval(secs => ${leaseSeconds}))
       on conflict (id) do update set alive_until = excluded.alive_until)
     select 1 + count(*)::int as alive from ${quote(schema)}.projector where alive_until > clock_timestamp() and id <> $1::uuid`,
    [id],
    { prepare: true },
  )
  return rows[0]?.alive ?? 1
}

/** Says that read models are defined by a process that lives. Rows are locked in one order, since others do the same at the same time. */
export async function sayDefined(client: SqlClient, schema: string, names: readonly string[]): Promise<void> {
  await client.query(
    `with own as materialized (select name from ${quote(schema)}.read_model where name = any ($1::text[]) order by name for update)
     update ${quote(schema)}.read_model r set seen_at = clock_timestamp() from own where r.name = own.name`,
    [names],
    { prepare: true },
  )
}

export async function sayGone(client: SqlClient, schema: string, id: string): Promise<void> {
  await client.query(`delete from ${quote(schema)}.projector where id = $1`, [id])
}
