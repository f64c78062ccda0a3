import type { SqlClient } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { leaseSeconds } from '../database/lease-seconds.ts'
import type { Checkpoint } from '../read-model/store.ts'

/** A range of partitions of a version. */
export interface OwnedRange {
  readonly projection: number
  readonly first: number
  readonly last: number
}

/** A range, and whether somebody works on it. */
export interface LeasedRange extends OwnedRange {
  readonly owner: string | null
  /** Nobody owns it, or its owner was silent for too long. */
  readonly free: boolean
}

/** What an owner keeps: `report` is the checkpoint of a version in another store, for those who only look. */
export interface KeptRange extends OwnedRange {
  readonly report: Checkpoint | null
}

/** A process that lives, and the versions that it could fold. */
export interface Folder {
  readonly id: string
  readonly runs: ReadonlySet<number>
}

/** Every range that is to be folded, by whomever. */
export async function readRanges(client: SqlClient, schema: string): Promise<readonly LeasedRange[]> {
  const s = quote(schema)
  const { rows } = await client.query<LeasedRange>(
    `select c.projection, c.first, c.last, c.owner, c.owner is null or c.lease_until < clock_timestamp() as free
     from ${s}.checkpoint c join ${s}.projection p on p.id = c.projection and p.state in ('building', 'live', 'previous')
     order by c.projection, c.first`,
    [],
    { prepare: true },
  )
  return rows
}

/** The processes that live, and what each could fold. */
export async function readFolders(client: SqlClient, schema: string): Promise<readonly Folder[]> {
  const { rows } = await client.query<{ id: string; runs: readonly number[] }>(
    `select id, runs from ${quote(schema)}.projector where alive_until > clock_timestamp() order by id`,
    [],
    { prepare: true },
  )
  return rows.map(({ id, runs }) => ({ id, runs: new Set(runs) }))
}

const leaseEnd = `clock_timestamp() + make_interval(secs => ${leaseSeconds})`

/**
 * Takes a range, or keeps it for longer: false when somebody else has it. A lease only decides who tries; what makes a late owner harmless is the
 * store's comparison. One row at a time, so that appends, which lock several, cannot meet it crosswise.
 */
export async function takeRange(client: SqlClient, schema: string, range: OwnedRange, owner: string): Promise<boolean> {
  const { rows } = await client.query(
    `update ${quote(schema)}.checkpoint set owner = $4, lease_until = ${leaseEnd}
     where projection = $1 and first = $2 and last = $3 and (owner is null or owner = $4 or lease_until < clock_timestamp()) returning 1`,
    [range.projection, range.first, range.last, owner],
    { prepare: true },
  )
  return rows.length > 0
}

/**
 * Keeps ranges for longer, all in one statement, and tells of which that is known to be so. One whose row somebody has locked just now is passed over,
 * since whoever waits for one row while he holds others may meet an append crosswise.
 */
export async function prolongRanges(
  client: SqlClient,
  schema: string,
  ranges: readonly KeptRange[],
  owner: string,
): Promise<readonly OwnedRange[]> {
  if (ranges.length === 0) return []
  const s = quote(schema)
  const { rows } = await client.query<OwnedRange>(
    `with kept as materialized (
       select c.projection, c.first, r.position, r.event_id
       from ${s}.checkpoint c join unnest($2::int[], $3::int[], $4::int[], $5::int8[], $6::uuid[]) r (projection, first, last, position, event_id)
         on c.projection = r.projection and c.first = r.first and c.last = r.last
       where c.owner = $1 for update of c skip locked)
     update ${s}.checkpoint c set lease_until = ${leaseEnd}, position = coalesce(k.position, c.position),
       event_id = case when k.position is null then c.event_id else k.event_id end
     from kept k where c.projection = k.projection and c.first = k.first returning c.projection, c.first, c.last`,
    [
      owner,
      ranges.map(({ projection }) => projection),
      ranges.map(({ first }) => first),
      ranges.map(({ last }) => last),
      ranges.map(({ report }) => report?.position ?? null),
      ranges.map(({ report }) => report?.eventId ?? null),
    ],
    { prepare: true },
  )
  return rows
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

/** Says that this process lives, and what it could fold. */
export async function sayAlive(client: SqlClient, schema: string, { id, runs }: Folder): Promise<void> {
  const s = quote(schema)
  await client.query(
    `with dead as (delete from ${s}.projector where id in (
       select p.id from ${s}.projector p where p.alive_until < clock_timestamp() - interval '1 minute' and p.id <> $1::uuid for update skip locked))
     insert into ${s}.projector as p (id, alive_until, runs) values ($1, ${leaseEnd}, $2::int[])
     on conflict (id) do update set alive_until = excluded.alive_until, runs = excluded.runs`,
    [id, [...runs].sort((a, b) => a - b)],
    { prepare: true },
  )
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
