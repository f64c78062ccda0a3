import { AsyncResource } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import type { SqlClient, Transaction } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { DatabaseError, UsageError } from '../errors.ts'
import { appendColumns, columnNames, type GroupParts } from './append-columns.ts'
import type { AppendOutcome, AppendRequest } from './log.ts'
import type { LogRuntime } from './log-runtime.ts'
import { readyAppend } from './ready-append.ts'

type StagingRuntime = Pick<LogRuntime, 'schema' | 'log' | 'generation' | 'renewGeneration' | 'onLost'>

const stagedNames = columnNames.filter((name) => !name.startsWith('key_') && !name.startsWith('need_'))

/**
 * Puts events down to be appended when the transaction commits; must be its last statement. The append happens in a deferred trigger: after
 * the sync views and the application's own deferred triggers, and with nothing behind it but the commit. Resolves to an id for
 * {@link takeStaged}. COMMIT fails with 40001, so that the command runs again, when a stream is not as expected, or when a row of a sync
 * projection is not the one that `companion` started from.
 * @throws {InvalidInputError} as `EventLog.append`
 * @throws {DatabaseError} 40001: the database is of another generation, which is being renewed
 */
export async function stageAppend(
  runtime: StagingRuntime,
  transaction: Transaction,
  request: AppendRequest,
  companion?: { readonly projections: readonly number[]; readonly part: GroupParts['parts'][number] },
): Promise<string> {
  if (request.answer)
    throw new UsageError('events that a command over tables emits have no answer of their own: the command has recorded its own')
  const id = randomUUID()
  const parts = companion && { projections: companion.projections, parts: [companion.part] }
  const columns = appendColumns([readyAppend(request)], parts)
  const values = [id, runtime.generation(), ...stagedNames.map((name) => columns[name])]
  const { rows } = await transaction.query<{ same: boolean }>(stageText(runtime.schema), values, { prepare: true })
  if (rows[0]?.same) return id
  runtime.onLost()
  outside.runInAsyncScope(() => renew(runtime))
  throw new DatabaseError('40001', 'the database is not the one it was; the command has to run again')
}

/** Where no transaction is open: within one, its database refuses to be called. */
const outside = new AsyncResource('headwater.staging')

/** Not waited for: a database with one connection begins it only when the transaction has been rolled back. */
function renew({ renewGeneration, log }: StagingRuntime): void {
  renewGeneration().catch((error: unknown) => log('warn', 'the generation could not be read anew', { error: String(error) }))
}

function stageText(schema: string): string {
  const parameters = Array.from({ length: stagedNames.length + 2 }, (_, i) => `$${i + 1}`)
  return `insert into ${quote(schema)}.staged (id, believed, ${stagedNames.join(', ')}) values (${parameters.join(', ')})
    returning believed = (select left(replace(g.id::text, '-', ''), 12) from ${quote(schema)}.generation g order by g.created_at desc limit 1) as same`
}

/** What became of events that a committed transaction had staged. */
export type StagedOutcome = Extract<AppendOutcome, { status: 'appended' }> & {
  /** Sync projections that did not move along and have to be caught up. */
  readonly left: readonly number[]
}

interface TakenRow {
  readonly xid: string | null
  readonly head: number
  readonly versions: readonly number[]
  readonly request_events: readonly number[]
  readonly event_entry: readonly number[]
  readonly behind: readonly number[] | null
}

/** Reads and removes what {@link stageAppend} left behind, after the commit. Undefined when it is not there: never committed, taken, or lost in a crash of the server. */
export async function takeStaged(client: SqlClient, schema: string, id: string): Promise<StagedOutcome | undefined> {
  const { rows } = await client.query<TakenRow>(
    `delete from ${quote(schema)}.staged where id = $1 returning xid, head, versions, request_events, event_entry, behind`,
    [id],
    { prepare: true },
  )
  const row = rows[0]
  if (!row || row.xid === null) return undefined
  return {
    status: 'appended',
    position: row.head + (row.request_events[0] ?? 0),
    versions: row.versions.map((version, i) => version + row.event_entry.filter((entry) => entry === i + 1).length),
    xid: row.xid,
    left: row.behind ?? [],
  }
}

/** Removes what nobody took within an hour: its process died between commit and {@link takeStaged}. */
export async function sweepStaged(client: SqlClient, schema: string): Promise<number> {
  return (await client.query(`delete from ${quote(schema)}.staged where at < clock_timestamp() - interval '1 hour'`)).rowCount
}
