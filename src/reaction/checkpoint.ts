import { leaseSeconds } from '../database/lease-seconds.ts'
import type { Event } from '../message/event.ts'
import type { Handled } from './react.ts'
import { type ReactionRuntime, reactionTables } from './reaction-runtime.ts'
import { taskId } from './task.ts'

/** How far a reaction is: every event up to here was turned into tasks. */
export interface ReactionCheckpoint {
  readonly position: number
  readonly eventId: string | null
}

/** Makes the checkpoints of reactions that were never seen before, at the head of the log: the past is not theirs. */
export async function register(runtime: ReactionRuntime, names: readonly string[]): Promise<void> {
  const { reaction } = reactionTables(runtime)
  const { rows } = await runtime.database.query<{ name: string }>(`select name from ${reaction} where name = any ($1::text[])`, [names])
  const known = new Set(rows.map(({ name }) => name))
  const unknown = names.filter((name) => !known.has(name))
  if (unknown.length === 0) return
  const head = await runtime.eventLog.head()
  await runtime.database.query(
    `insert into ${reaction} (name, position, event_id) select name, $2::bigint, $3::uuid from unnest($1::text[]) as n (name) on conflict do nothing`,
    [unknown, head.position, head.eventId],
  )
}

/** What one look tells of a reaction that this process works on. */
export interface Held {
  readonly name: string
  readonly position: number
  readonly eventId: string | null
  /** Whether a command is due. */
  readonly due: boolean
}

/** Takes the leases that are free, renews those that are this process's, and tells what there is to do. */
export async function hold(runtime: ReactionRuntime, owner: string, names: readonly string[]): Promise<readonly Held[]> {
  const { reaction } = reactionTables(runtime)
  const { rows } = await runtime.database.query<Held>(
    `update ${reaction} set owner = $1::uuid, lease_until = clock_timestamp() + make_interval(secs => ${leaseSeconds})
     where name = any ($2::text[]) and (owner = $1::uuid or owner is null or lease_until < clock_timestamp())
     returning name, position, event_id as "eventId", ${dueColumn(runtime)}`,
    [owner, names],
    { prepare: true },
  )
  return rows
}

/** Tells what there is to do, without a write. */
export async function look(runtime: ReactionRuntime, owner: string, names: readonly string[]): Promise<readonly Held[]> {
  const { reaction } = reactionTables(runtime)
  const { rows } = await runtime.database.query<Held>(
    `select name, position, event_id as "eventId", ${dueColumn(runtime)} from ${reaction}
     where name = any ($2::text[]) and owner = $1::uuid and lease_until > clock_timestamp()`,
    [owner, names],
    { prepare: true },
  )
  return rows
}

/** Those that another process works on. */
export async function heldByOthers(runtime: ReactionRuntime, owner: string, names: readonly string[]): Promise<ReadonlySet<string>> {
  const { rows } = await runtime.database.query<{ name: string }>(
    `select name from ${reactionTables(runtime).reaction}
     where name = any ($2::text[]) and owner <> $1::uuid and lease_until > clock_timestamp()`,
    [owner, names],
    { prepare: true },
  )
  return new Set(rows.map(({ name }) => name))
}

function dueColumn(runtime: ReactionRuntime): string {
  const { reaction, task } = reactionTables(runtime)
  return `exists (select from ${task} t where t.reaction = ${reaction}.name and t.state = 'waiting' and t.due_at <= clock_timestamp()) as due`
}

/** Gives leases back, so that another process need not wait for their end. */
export async function release(runtime: ReactionRuntime, owner: string, names: readonly string[], error: string | null): Promise<void> {
  await runtime.database.query(
    `update ${reactionTables(runtime).reaction} set owner = null, lease_until = null, error = coalesce($3, error)
     where owner = $1::uuid and name = any ($2::text[])`,
    [owner, names, error],
  )
}

/**
 * Moves a reaction's checkpoint over events and writes their tasks, in one statement; false when the checkpoint is not `from` any more, and then
 * nothing was written. Of two processes that try at once the second waits for the first one's row, and finds it moved.
 */
export async function advance(
  runtime: ReactionRuntime,
  reaction: { readonly name: string; readonly afterMs: number },
  from: ReactionCheckpoint,
  to: ReactionCheckpoint,
  handled: readonly { readonly event: Event; readonly handled: Handled }[],
): Promise<boolean> {
  const tables = reactionTables(runtime)
  const { rows } = await runtime.database.query<{ moved: number }>(
    `with moved as (
       update ${tables.reaction} set position = $2, event_id = $3::uuid, error = null
       where name = $1 and position = $4 and event_id is not distinct from $5::uuid
       returning name
     ), added as (
       insert into ${tables.task} (id, reaction, event_id, ordinal, position, key, command, input, correlation_id, due_at, state, error)
       select t.id, moved.name, t.event_id, t.ordinal, t.position, t.key, t.command, t.input, t.correlation_id,
         t.time + $7::float8 * interval '1 millisecond', case when t.error is null then 'waiting' else 'parked' end, t.error
       from moved cross join json_to_recordset($6::json) as t (id text, event_id uuid, ordinal integer, position bigint, key text, command text,
         input json, correlation_id text, time timestamptz, error text)
     )
     select count(*) as moved from moved`,
    [
      reaction.name,
      to.position,
      to.eventId,
      from.position,
      from.eventId,
      JSON.stringify(taskRows(reaction.name, handled)),
      reaction.afterMs,
    ],
    { prepare: true },
  )
  return rows[0]?.moved === 1
}

function taskRows(name: string, handled: readonly { readonly event: Event; readonly handled: Handled }[]): readonly object[] {
  return handled.flatMap(({ event, handled: { key, outcome } }): readonly object[] => {
    const row = (ordinal: number) => ({
      id: taskId(name, event.id, ordinal),
      event_id: event.id,
      ordinal,
      position: event.position,
      key,
      correlation_id: event.metadata.correlationId ?? event.id,
      time: event.time,
    })
    if ('error' in outcome) return [{ ...row(0), error: outcome.error }]
    return outcome.messages.map(({ command, input }, ordinal) => ({ ...row(ordinal), command, input }))
  })
}
