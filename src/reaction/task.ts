import { InvalidInputError } from '../errors.ts'
import { type ReactionRuntime, reactionTables } from './reaction-runtime.ts'

/** A command that a reaction has yet to send. */
export interface Task {
  /** The idempotency key it is sent with. */
  readonly id: string
  readonly eventId: string
  readonly key: string
  readonly command: string
  readonly input: unknown
  readonly correlationId: string
  readonly attempts: number
  /** Of the event that asked for it. */
  readonly position: number
}

/** What became of a task that was tried. */
export type TaskOutcome =
  /** Carried out, or refused: both are answers. */
  | { readonly id: string; readonly kind: 'answered' }
  | { readonly id: string; readonly kind: 'failed'; readonly error: string; readonly pauseMs: number }
  | { readonly id: string; readonly kind: 'parked'; readonly error: string }

/** A task that was put aside, and everything of its key behind it. */
export interface ParkedTask {
  readonly id: string
  readonly reaction: string
  readonly eventId: string
  readonly position: number
  readonly key: string
  /** Null when the handler itself failed. */
  readonly command: string | null
  readonly input: unknown
  readonly attempts: number
  readonly error: string
  readonly since: string
}

/** What ids of tasks begin with, and so the idempotency keys of their commands. */
const idPrefix = 'reaction/'

/** The id of a task: what the same event asks for is the same task for ever. */
export function taskId(reaction: string, eventId: string, ordinal: number): string {
  return `${idPrefix}${reaction}/${eventId}/${ordinal}`
}

/**
 * Whoever could send a command under the key of a task would keep the task's own command from being carried out.
 * @throws {InvalidInputError}
 */
export function refuseKeyOfTask(command: string, idempotencyKey: string | undefined): void {
  if (!idempotencyKey?.startsWith(idPrefix)) return
  const message = `begins with "${idPrefix}", as only the keys of reactions do; choose another`
  throw new InvalidInputError(command, [{ path: ['idempotencyKey'], message }])
}

/**
 * Tasks that are due, in the order in which those of one key must be carried out: whoever takes a key's tasks in this order, and none while
 * another of the key is under way, keeps the order. A task behind a parked one is left out; one behind a task that is tried again later too, for
 * that is due after it.
 */
export async function dueTasks(
  runtime: ReactionRuntime,
  reaction: string,
  busyKeys: readonly string[],
  limit: number,
): Promise<readonly Task[]> {
  const { task } = reactionTables(runtime)
  const { rows } = await runtime.database.query<Task>(
    `select t.id, t.event_id as "eventId", t.key, t.command, t.input, t.correlation_id as "correlationId", t.attempts, t.position
     from ${task} t
     where t.reaction = $1 and t.state = 'waiting' and t.due_at <= clock_timestamp() and t.key <> all ($2::text[])
       and not exists (
         select from ${task} e
         where e.reaction = t.reaction and e.key = t.key and e.state <> 'skipped' and (e.position, e.ordinal) < (t.position, t.ordinal)
           and (e.state = 'parked' or e.due_at > t.due_at))
     order by t.due_at, t.position, t.ordinal limit $3`,
    [reaction, busyKeys, limit],
    { prepare: true },
  )
  return rows
}

/** Writes what became of tasks. Those that another process has done away with meanwhile stay away. */
export async function recordOutcomes(runtime: ReactionRuntime, outcomes: readonly TaskOutcome[]): Promise<void> {
  const { task } = reactionTables(runtime)
  const answered = outcomes.filter(({ kind }) => kind === 'answered').map(({ id }) => id)
  if (answered.length > 0) await runtime.database.query(`delete from ${task} where id = any ($1::text[])`, [answered], { prepare: true })
  const others = outcomes.filter((outcome) => outcome.kind !== 'answered')
  if (others.length === 0) return
  await runtime.database.query(
    `update ${task} t set attempts = t.attempts + 1, error = o.error, state = case when o.pause_ms is null then 'parked' else 'waiting' end,
       due_at = coalesce(clock_timestamp() + o.pause_ms * interval '1 millisecond', t.due_at)
     from json_to_recordset($1::json) as o (id text, error text, pause_ms float8) where t.id = o.id and t.state = 'waiting'`,
    [
      JSON.stringify(
        others.map((outcome) => ({ id: outcome.id, error: outcome.error, pause_ms: outcome.kind === 'failed' ? outcome.pauseMs : null })),
      ),
    ],
    { prepare: true },
  )
}

/** The parked tasks of reactions, oldest first. */
export async function parkedTasks(runtime: ReactionRuntime, names: readonly string[]): Promise<readonly ParkedTask[]> {
  const { rows } = await runtime.database.query<ParkedTask>(
    `select id, reaction, event_id as "eventId", position, key, command, input, attempts, error, created_at as since
     from ${reactionTables(runtime).task} where reaction = any ($1::text[]) and state = 'parked' order by reaction, position, ordinal`,
    [names],
  )
  return rows
}

/** Whether something is left that will be done without anybody's help: a task that is due, or will be tried again; not a delayed one. */
export async function isBusy(runtime: ReactionRuntime, names: readonly string[]): Promise<boolean> {
  const { task } = reactionTables(runtime)
  const { rows } = await runtime.database.query(
    `select from ${task} t
     where t.reaction = any ($1::text[]) and t.state = 'waiting' and (t.due_at <= clock_timestamp() or t.attempts > 0)
       and not exists (
         select from ${task} e
         where e.reaction = t.reaction and e.key = t.key and e.state <> 'skipped' and (e.position, e.ordinal) < (t.position, t.ordinal)
           and (e.state = 'parked' or (e.due_at > clock_timestamp() and e.attempts = 0)))
     limit 1`,
    [names],
  )
  return rows.length > 0
}
