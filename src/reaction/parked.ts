import { UsageError } from '../errors.ts'
import { handle } from './react.ts'
import type { Reaction } from './reaction.ts'
import { type ReactionRuntime, reactionTables } from './reaction-runtime.ts'
import { parkedTasks, taskId } from './task.ts'

/** Makes parked tasks due again: all of a reaction, or one. An event whose handler failed is handed to it again. */
export async function retryParked(runtime: ReactionRuntime, reaction: Reaction, id: string | undefined): Promise<void> {
  const name = reaction.reactionName
  const parked = (await parkedTasks(runtime, [name])).filter((task) => id === undefined || task.id === id)
  if (id !== undefined && parked.length === 0) throw new UsageError(`reaction ${name}: nothing is parked under ${id}`)
  const tried = parked.filter(({ command }) => command !== null).map((task) => task.id)
  await runtime.database.query(
    `update ${reactionTables(runtime).task} set state = 'waiting', attempts = 0, due_at = clock_timestamp() where id = any ($1::text[]) and state = 'parked'`,
    [tried],
  )
  for (const task of parked) if (task.command === null) await handleAgain(runtime, reaction, task)
}

/** Replaces the parked event by the commands that its handler returns now; in one statement, so that nobody sees neither. */
async function handleAgain(
  runtime: ReactionRuntime,
  reaction: Reaction,
  { id, position, eventId }: { readonly id: string; readonly position: number; readonly eventId: string },
): Promise<void> {
  const { task } = reactionTables(runtime)
  const [event] = await runtime.eventLog.read({ after: position - 1, limit: 1 })
  if (event?.id !== eventId)
    throw new UsageError(`reaction ${reaction.reactionName}: the log does not hold the parked event ${eventId} any more`)
  const outcome = handle(reaction, event)?.outcome ?? { messages: [] }
  if ('error' in outcome) {
    await runtime.database.query(`update ${task} set error = $2, attempts = attempts + 1 where id = $1 and state = 'parked'`, [
      id,
      outcome.error,
    ])
    return
  }
  const rows = outcome.messages.map(({ command, input }, ordinal) => ({
    id: taskId(reaction.reactionName, eventId, ordinal),
    ordinal,
    command,
    input,
  }))
  // The first of them takes the parked row's own id: one statement cannot delete a row and insert another with its key.
  await runtime.database.query(
    `with parked as (select * from ${task} where id = $1 and state = 'parked' for update),
     again as (select t.* from json_to_recordset($2::json) as t (id text, ordinal integer, command text, input json)),
     first as (
       update ${task} t set command = a.command, input = a.input, state = 'waiting', attempts = 0, error = null, due_at = greatest(t.due_at, clock_timestamp())
       from parked p, again a where t.id = p.id and a.id = p.id
     ), none as (
       delete from ${task} t using parked p where t.id = p.id and not exists (select from again)
     )
     insert into ${task} (id, reaction, event_id, ordinal, position, key, command, input, correlation_id, due_at)
     select a.id, p.reaction, p.event_id, a.ordinal, p.position, p.key, a.command, a.input, p.correlation_id, greatest(p.due_at, clock_timestamp())
     from parked p, again a where a.id <> p.id`,
    [id, JSON.stringify(rows)],
  )
}

/** Leaves a parked task out for good, and keeps it with the reason. */
export async function skipParked(runtime: ReactionRuntime, name: string, id: string, reason: string): Promise<void> {
  if (reason.trim() === '') throw new UsageError(`reaction ${name}: skip() takes a reason, which is kept on record`)
  const { rowCount } = await runtime.database.query(
    `update ${reactionTables(runtime).task} set state = 'skipped', error = $3 || coalesce(' (it was parked for: ' || error || ')', '')
     where id = $1 and reaction = $2 and state = 'parked'`,
    [id, name, reason],
  )
  if (rowCount === 0) throw new UsageError(`reaction ${name}: nothing is parked under ${id}`)
  runtime.log('warn', `reaction ${name}: skipped ${id}: ${reason}`)
}

/** Puts a reaction's checkpoint at the head of the log as it is now. */
export async function acceptHead(runtime: ReactionRuntime, name: string): Promise<void> {
  const head = await runtime.eventLog.head()
  await runtime.database.query(
    `update ${reactionTables(runtime).reaction} set position = $2, event_id = $3::uuid, error = null where name = $1`,
    [name, head.position, head.eventId],
  )
  runtime.log('warn', `reaction ${name}: goes on from position ${head.position}; what happened before is not reacted to`)
}
